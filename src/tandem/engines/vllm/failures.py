"""vLLM's exceptions in our words, once."""

import asyncio
import contextlib
from collections.abc import Iterator

from tandem.errors import EngineFailed, Overloaded, RequestError, ServingError

_CLIENT = ("VLLMClientError", "VLLMValidationError", "ValueError", "TypeError")
_BUSY = ("QueueOverflowError", "MaxQueuedTokensError", "GracefulHTTPError")


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Around every call into vLLM. By class name, for the classes have moved between versions.

    Raises:
        RequestError: vLLM refuses the request, in its own words.
        Overloaded: its admission limit.
        EngineFailed: it is dead, or broke on this request.
    """
    try:
        yield
    except (ServingError, asyncio.CancelledError, GeneratorExit):
        raise
    except Exception as error:
        names = {cls.__name__ for cls in type(error).__mro__}
        if "EngineDeadError" in names:
            raise EngineFailed("the engine died") from error
        if names & set(_BUSY):
            raise Overloaded(str(error)) from error
        if names & set(_CLIENT):
            raise RequestError(str(error)) from error
        raise EngineFailed(f"{type(error).__name__}: {error}") from error
