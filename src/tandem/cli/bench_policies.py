"""The router's own rules as policies of a replay: the same pool, index and rules that serve requests."""

from collections import deque
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tandem.core.kv_updates import KvChange
from tandem.core.routing import RouteRequest
from tandem.errors import ConfigError
from tandem.kv.blocks import Hashes, to_bytes
from tandem.router.kv_rule import KvWeights, kv_rule
from tandem.router.pool import WorkerPool
from tandem.router.ports import Rule
from tandem.router.registry import rule_named, rule_names
from tandem.simulate.engine import EngineModel
from tandem.simulate.policies import PowerOfTwo, PrefixHash
from tandem.simulate.ports import Policy
from tandem.simulate.trace import TraceRequest

EVENT_LAG_S = 0.02
"""From a block's computation to the router's knowing it: a step's end, the bus, the router's next look."""

POLICIES = ("kv", "round-robin", "random", "least-loaded", "least-tokens", "prefix-hash", "power-of-two")


class RulePolicy:
    """A rule over a `WorkerPool`, told late of what workers store, as a router is.

    Args:
        looks: whether the rule asks who holds a prompt's blocks.
        tells: whether the engines say what they store; else the pool predicts.
    """

    def __init__(
        self, rule: Rule, model: EngineModel, workers: int, seed: int, *, looks: bool = True, tells: bool = True
    ) -> None:
        self.pool = WorkerPool(rule, model.block_size_tokens)
        self._rng = Random(seed)
        self._late: deque[tuple[float, int, KvChange]] = deque()
        self._names = [f"w{number:04d}" for number in range(workers)]
        self._looks = looks
        self._tells = looks and tells
        capacity = model.cache_tokens // model.block_size_tokens
        for name in self._names:
            self.pool.join((name, None), tells=self._tells or not looks, capacity_blocks=capacity)
        self.pool.index.reserve(workers * capacity)

    def choose(self, request: TraceRequest, alive: Sequence[int], now: float) -> int:
        """As a router does."""
        while self._late and self._late[0][0] <= now:
            _, worker, change = self._late.popleft()
            self.pool.told((self._names[worker], None), change)
        asked = RouteRequest(
            request_id=request.request_id,
            candidates=[self._names[number] for number in alive],
            token_ids=range(request.prompt_tokens),  # type: ignore[arg-type]  # only its length is read
        )
        names = request.names.tolist() if self._looks else []
        decision = self.pool.choose(asked, names, now=now, draw=self._rng.random())
        return self._names.index(decision.choice.instance_id)

    def first_token(self, request_id: str, now: float) -> None:
        """Its prompt is computed."""
        self.pool.prefilled(request_id, now)

    def finished(self, request_id: str, now: float) -> None:
        """It is over."""
        self.pool.finished(request_id, now)

    def stored(self, worker: int, names: Hashes, now: float) -> None:
        """Known a little later."""
        self._tell(worker, KvChange("stored", names=to_bytes(names)), now)

    def removed(self, worker: int, names: Hashes, now: float) -> None:
        """Known a little later."""
        self._tell(worker, KvChange("removed", names=to_bytes(names)), now)

    def died(self, worker: int, now: float) -> None:
        """Its blocks are gone, and so is what it said last."""
        self.pool.leave((self._names[worker], None))
        self._late = deque(entry for entry in self._late if entry[1] != worker)

    def _tell(self, worker: int, change: KvChange, now: float) -> None:
        if self._tells:
            self._late.append((now + EVENT_LAG_S, worker, change))


def policy_named(name: str, *, model: EngineModel, workers: int, seed: int, weights: KvWeights) -> Policy:
    """A new policy.

    Raises:
        ConfigError: there is none of that name.
    """
    made: dict[str, Callable[[], Policy]] = {
        "kv": lambda: RulePolicy(kv_rule(weights), model, workers, seed),
        "kv-predicted": lambda: RulePolicy(kv_rule(weights), model, workers, seed, tells=False),
        "greedy": lambda: RulePolicy(kv_rule(GREEDY), model, workers, seed),
        "least-tokens": lambda: RulePolicy(kv_rule(LEAST_TOKENS), model, workers, seed),
        "prefix-hash": PrefixHash,
        "power-of-two": lambda: PowerOfTwo(seed),
    }
    if name in made:
        return made[name]()
    if name in rule_names():
        return RulePolicy(rule_named(name), model, workers, seed, looks=False)
    raise ConfigError(f"no policy {name!r}; choose from {', '.join(sorted({*made, *rule_names()}))}")


_ONLY: dict[str, Any] = {"decode_weight_s": 0.0, "busy_kv_used": 1.0}
GREEDY = KvWeights(overlap_weight=1.0, **_ONLY)
"""Queue and uncached tokens, one as dear as the other."""
LEAST_TOKENS = KvWeights(overlap_weight=0.0, **_ONLY)
"""The shortest prefill queue, known to the token; the cache does not count."""
