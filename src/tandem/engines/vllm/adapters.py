"""LoRA adapters: loaded with the engine, named by requests."""

from collections.abc import Mapping
from typing import Any

from tandem.errors import ConfigError, RequestError


class Adapters:
    """What a vLLM engine is asked to apply, by name."""

    def __init__(self) -> None:
        self._requests: dict[str, Any] = {}

    async def load(self, llm: Any, folders: Mapping[str, str]) -> None:
        """Load each once, so that one that cannot be read is known before a request asks for it.

        Raises:
            ConfigError: in vLLM's own words.
        """
        if not folders:
            return
        from vllm.lora.request import LoRARequest

        for number, (name, folder) in enumerate(sorted(folders.items()), 1):
            self._requests[name] = LoRARequest(name, number, folder)
            try:
                await llm.add_lora(self._requests[name])
            except Exception as error:
                raise ConfigError(f"the LoRA adapter {name} in {folder}: {error}", param="lora-modules") from error

    def request(self, name: str) -> Any:
        """vLLM's own way to name an adapter.

        Raises:
            RequestError: it is not loaded.
        """
        if name not in self._requests:
            raise RequestError(f"the adapter {name[:128]!r} is not loaded here", param="model")
        return self._requests[name]
