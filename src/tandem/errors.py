"""Every failure that Tandem names, in one tree.

    ServingError              code                retry           who can mend it
    ├─ RequestError           invalid_request     never           the caller
    │  ├─ ContextTooLong      context_too_long    never
    │  ├─ ModelNotFound       model_not_found     never
    │  └─ BodyTooLarge        body_too_large      never
    ├─ Overloaded             overloaded          later           nobody: healthy but full; carries retry_after_s
    │  └─ RateLimited        rate_limited        later           the caller: its own limit is used up
    ├─ Unavailable            unavailable         other_instance  a peer or a backing service is gone
    │  ├─ InstanceLost        instance_lost       other_instance
    │  ├─ LeaseLost           lease_lost          other_instance
    │  └─ KvTransferFailed    kv_transfer_failed  other_instance
    ├─ DeadlineExceeded       deadline_exceeded   never           the request's own time ran out
    ├─ Cancelled              cancelled           never           the caller went away
    ├─ ProtocolMismatch       protocol_mismatch   never           two versions or layouts that cannot talk
    ├─ TransferFailed         transfer_failed     later           a model's files did not all arrive; what did is kept
    ├─ ModelBroken            model_broken        never           a model folder is half, cut off, or no model
    ├─ EngineFailed           engine_failed       other_instance  the engine died or answered nonsense
    └─ ConfigError            config              never           start-up only: exit status 2, never on the wire

Adapters turn foreign exceptions into these once, with ``raise … from``. Messages carry names and
numbers, never prompts or keys. Bugs in our own invariants are ``AssertionError`` and not in this tree.
"""

from typing import ClassVar, Literal, Self

Retry = Literal["never", "later", "other_instance"]


class ServingError(Exception):
    """Base of everything that a request can end with."""

    code: ClassVar[str] = "internal"
    retry: ClassVar[Retry] = "never"

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        """Request field at fault, as the client spells it (``messages[0].content``), if there is one."""


class RequestError(ServingError):
    """The request cannot be served as it is; the caller can change it."""

    code = "invalid_request"


class ContextTooLong(RequestError):
    """Prompt, or prompt plus asked-for output, is longer than the model takes."""

    code = "context_too_long"


class ModelNotFound(RequestError):
    """No such model is served here."""

    code = "model_not_found"

    @classmethod
    def named(cls, name: str) -> Self:
        """One that is not there, and one that the key may not ask for: both in the same words."""
        return cls(f"the model {name[:128]!r} does not exist; GET /v1/models lists those that do", param="model")


class BodyTooLarge(RequestError):
    """The HTTP body is over the limit."""

    code = "body_too_large"


class Overloaded(ServingError):
    """Healthy but full; try again after `retry_after_s` seconds."""

    code = "overloaded"
    retry = "later"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, param=param)
        self.retry_after_s = retry_after_s


class RateLimited(Overloaded):
    """The caller has used up what it may use."""

    code = "rate_limited"


class Unavailable(ServingError):
    """A peer or a backing service is gone; another instance may do."""

    code = "unavailable"
    retry = "other_instance"


class InstanceLost(Unavailable):
    """The instance that worked on this died, or its connection broke."""

    code = "instance_lost"


class LeaseLost(Unavailable):
    """The store no longer knows our lease."""

    code = "lease_lost"


class KvTransferFailed(Unavailable):
    """KV blocks did not arrive; what was read is garbage and must not be used."""

    code = "kv_transfer_failed"


class DeadlineExceeded(ServingError):
    """The request's own time ran out."""

    code = "deadline_exceeded"


class Cancelled(ServingError):
    """The caller went away; nobody will read the answer."""

    code = "cancelled"


class ProtocolMismatch(ServingError):
    """The peer speaks another version, or frames that are not ours."""

    code = "protocol_mismatch"


class TransferFailed(ServingError):
    """A model's files did not all arrive. What did is kept: the same command goes on from there."""

    code = "transfer_failed"
    retry = "later"


class ModelBroken(ServingError):
    """A model folder is half pulled, cut off, changed since it was made, or no model at all."""

    code = "model_broken"


class EngineFailed(ServingError):
    """The engine died or answered nonsense."""

    code = "engine_failed"
    retry = "other_instance"


class ConfigError(ServingError):
    """Settings that cannot work. Raised at start only; the process exits with status 2."""

    code = "config"


def _tree(root: type[ServingError]) -> dict[str, type[ServingError]]:
    found = {root.code: root}
    for child in root.__subclasses__():
        found.update(_tree(child))
    return found


_BY_CODE = _tree(ServingError)


def error_from_wire(
    code: str, message: str, *, param: str | None = None, retry_after_s: float | None = None
) -> ServingError:
    """Rebuild an error that a peer sent. An unknown code (a newer peer) becomes a plain `ServingError`."""
    cls = _BY_CODE.get(code, ServingError)
    if issubclass(cls, Overloaded) and retry_after_s is not None:
        return cls(message, param=param, retry_after_s=retry_after_s)
    return cls(message, param=param)
