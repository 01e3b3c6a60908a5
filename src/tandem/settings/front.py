"""Settings of what a request meets first: Frontend, Processor, Router."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendSettings:
    """The front door: HTTP in, SSE out. YAML section `Frontend`."""

    served_model_name: str | None = None
    """Name that clients ask for. Default: the one that the workers registered, so that one process needs no model."""

    endpoint: str = "dynamo.Processor.chat/completions"
    """Where requests go: namespace.component.endpoint. The namespace written here rules; DYNAMO_NAMESPACE does not
    move it."""

    port: int = 8000
    """TCP port of the front door. It opens when a request could first be answered. 0 takes a free one."""

    host: str = "0.0.0.0"
    """Address it listens on. All of them by default: a pod or a container is reached from outside."""

    response_form: Literal["openai", "guide"] = "openai"
    """`openai`: today's form (usage present, reasoning split off). `guide`: the deployment guide's
    (usage null, raw `<think>` in content, bare UUID ids)."""

    request_timeout_s: float = 600.0
    """Longest life of a request. Seconds; a client may ask for less. Ten minutes cover 32k tokens at 60 tokens/s."""

    access_log: bool = False
    """One line per request. Off: metrics and traces tell the same at less cost."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = []
        if not 0 <= self.port <= 65535:
            faults.append(f"port {self.port} is not between 0 and 65535")
        if self.endpoint.count(".") < 2:
            faults.append(f"endpoint {self.endpoint!r} is not namespace.component.endpoint")
        return faults


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorSettings:
    """Text to tokens and back, and where a request goes. YAML section `Processor`."""

    model: str | None = None
    """Folder with tokenizer and chat template. Default: what the workers registered; needed before they are there."""

    router: str = "round-robin"
    """How a decode worker is chosen: `random`, `round-robin`, `least-loaded`, `kv` (where most of the prompt's KV
    already is), or an entry point of group `tandem.routers`."""

    min_workers: int = 1
    """Decode workers that must be there before the front door opens. Instances."""

    tool_call_parser: str = "auto"
    """Format of the model's tool calls, see docs/parsers.md; `auto` goes by its chat template and architecture, `none`
    leaves them in the text."""

    reasoning_parser: str = "auto"
    """Format of the model's thoughts, likewise."""

    chat_template: str | None = None
    """File to use instead of the model's own chat template."""

    default_max_tokens: int | None = None
    """Output limit of requests that name none. Tokens; default: all that the model's context leaves."""

    component: str = "VllmWorker"
    """Component whose instances decode. Default: the guide's."""

    max_reroutes: int = 3
    """How often a request whose decode worker was lost is sent to another, within its deadline. Times."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = []
        if self.min_workers < 0:
            faults.append("min-workers must not be negative")
        if self.default_max_tokens is not None and self.default_max_tokens < 1:
            faults.append("default-max-tokens must be at least 1")
        return faults


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """Choice by KV cache. YAML section `Router`; it idles unless the Processor's `router` is `kv`."""

    min_workers: int = 1
    """Decode workers to wait for. Instances."""

    overlap_weight: float = 3.0
    """What a cached token is worth against a token of load. 0 balances load only; above 1, because computing a
    token delays everybody who comes after."""

    temperature: float = 0.0
    """Spread of the choice among near-equal workers; 0 takes the cheapest always."""

    busy_wait_s: float = 0.0
    """Prefill queue from which on a worker is left out while another has a shorter one. Seconds; 0: never."""

    session_affinity: Literal["off", "soft", "hard"] = "off"
    """Whether requests of one session stay on one worker: `soft` unless it is busy, `hard` while it lives."""

    session_ttl_s: float = 600.0
    """How long a session without requests is remembered. Seconds."""

    prefill_component: str = "PrefillWorker"
    """Component whose instances prefill: jobs go to the lane of the one whose cache fits best."""

    block_size: int | None = None
    """Tokens per block. Default: what the workers registered, which also wins when it differs."""

    custom_router: str | None = None
    """Name of an own router, an entry point of group `tandem.routers`."""

    model_name: str | None = None
    """Accepted for old configurations; the workers' registration says it."""
