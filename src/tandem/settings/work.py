"""Settings of engine workers: the engine, its roles, and when a prompt's prefill goes elsewhere."""

from dataclasses import dataclass

from tandem.core.bounds import MAX_WAIT_S
from tandem.settings.fields import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """An engine behind an endpoint. YAML sections `VllmWorker` and `PrefillWorker`.

    Every other key of these sections is the engine's own and goes to it.
    """

    model: str = setting("", env="TANDEM_MODEL", aliases=("model_path",))
    """Folder (or hub name) of the model. Needed."""

    served_model_name: str | None = None
    """Name that clients ask for. Default: the Frontend's, else the last part of `model`."""

    engine: str = "vllm"
    """Which engine: `vllm`, `simulated`, or an entry point of group `tandem.engines`."""

    router: str = "round-robin"
    """The Processor's mode; with `kv` the engine publishes its KV events."""

    kv_events: bool | None = None
    """Publish KV events. Default: only when `router` is `kv`."""

    side_channel_host: str | None = setting(None, env="VLLM_NIXL_SIDE_CHANNEL_HOST")
    """Address at which peers fetch transfer metadata. Default: our address on the route to the store."""

    handoff_lease_s: float = 30.0
    """How long the engine keeps KV that nobody reads. Seconds; our own deadline is half of it, since reading later
    may read another prompt's blocks."""

    lora_modules: tuple[str, ...] = ()
    """LoRA adapters, `NAME=FOLDER` each: requests choose one by its name as their `model`. Prefill and decode workers
    need the same ones under the same paths. `max-lora-rank` and `max-loras` are the engine's."""

    seed: int = 0
    """Seed of the engine."""

    load_report_interval_s: float = 0.1
    """Pause between load reports to the routers. Seconds; an unchanged load is repeated every tenth time only."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = []
        if not self.model:
            faults.append("model is not set")
        for module in self.lora_modules:
            name, _, folder = module.partition("=")
            if not name or not folder:
                faults.append(f"lora-modules has {module!r}: write NAME=FOLDER")
        if self.handoff_lease_s <= 0:
            faults.append("handoff-lease-s must be positive")
        return faults


@dataclass(frozen=True, slots=True, kw_only=True)
class DisaggSettings:
    """When a decode worker hands a prompt to the prefill queue. Keys of the worker sections."""

    remote_prefill: bool = False
    """Whether prompts may be prefilled by another worker at all."""

    conditional_disagg: bool = False
    """On: only long prompts go away, and only while the queue is short. Off: with `remote-prefill`, every prompt that
    can."""

    max_local_prefill_length: int = 1000
    """Prompts with at most this many uncached tokens stay local when `conditional-disagg` is on. Tokens."""

    max_prefill_queue_size: int = 3
    """Waiting jobs from which on prompts stay local when `conditional-disagg` is on. Jobs."""

    prefill_timeout_s: float = setting(60.0, env="DYNAMO_RP_TIMEOUT")
    """Longest wait for a remote prefill before the decode worker prefills here. Seconds; a lost prefill worker is
    noticed sooner."""

    ack_wait_s: float = 10.0
    """A claimed job without a sign of life comes again after this. Seconds; a working prefill worker renews every
    third of it."""

    steal_after_s: float = 0.5
    """How long a job waits for the prefill worker it names before any other may take it. Seconds."""

    prefill_token_budget: int | None = None
    """Uncached prompt tokens that a prefill worker takes on at once. Tokens; default: the engine's `max-num-batched-
    tokens`."""

    prefill_component: str = "PrefillWorker"
    """Component whose instances prefill."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        faults = []
        if self.max_local_prefill_length < 0:
            faults.append("max-local-prefill-length must not be negative")
        if self.prefill_timeout_s <= 0:
            faults.append("prefill-timeout-s must be positive")
        if not 0 < self.ack_wait_s <= MAX_WAIT_S:
            faults.append(f"ack-wait-s must be over 0 and at most {MAX_WAIT_S:g}, not {self.ack_wait_s:g}")
        if self.prefill_token_budget is not None and self.prefill_token_budget < 1:
            faults.append("prefill-token-budget must be at least 1")
        return faults
