"""The router's shell: gathers loads, asks the rule, remembers what it chose until that is over."""

import logging
import random
import time
from collections.abc import Callable

import msgspec

from tandem.core.load import LoadReport, load_subject
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.observe import metrics
from tandem.router.loads import LoadView
from tandem.router.ports import Ask, Rule
from tandem.transport.ports import Bus

_log = logging.getLogger(__name__)
_FORGET_EVERY = 1024
"""Choices between two clean-ups of instances that are gone."""


class RuleRouter:
    """A `Router` over one rule, for one component. Used by one event loop."""

    def __init__(
        self,
        rule: Rule,
        *,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
        loads: LoadView | None = None,
    ) -> None:
        self._rule = rule
        self._clock = clock
        self._draw = (rng or random.Random()).random
        self._loads = loads or LoadView()
        self._last: str | None = None
        self._choices = 0
        self._open: dict[str, tuple[str, int]] = {}

    async def choose(self, request: RouteRequest) -> RouteChoice:
        """One of the request's candidates, counted as busy until `finished`. See `ports.Router`."""
        now = self._clock()
        candidates = [self._loads.candidate(i, now) for i in sorted(request.candidates)]
        choice = self._rule(candidates, Ask(request=request, last=self._last, draw=self._draw(), now=now))
        assert choice.instance_id in request.candidates, "a rule chose an instance that was not offered"
        self.finished(request.request_id)  # chosen anew after a loss: the first choice is over
        self._open[request.request_id] = (choice.instance_id, request.sequences)
        self._loads.sent(choice.instance_id, request.sequences)
        self._last = choice.instance_id
        metrics.ROUTER_CHOICES.labels(choice.rule, choice.reason).inc()
        self._choices += 1
        if self._choices % _FORGET_EVERY == 0:
            self._loads.keep_only(set(request.candidates))
        return choice

    def prefilled(self, request_id: str) -> None:
        """See `ports.Router`. These rules count sequences, not prompts."""

    def finished(self, request_id: str) -> None:
        """See `ports.Router`."""
        chosen = self._open.pop(request_id, None)
        if chosen is not None:
            self._loads.over(*chosen)

    def heard(self, report: LoadReport) -> None:
        """Take note of an instance's own report."""
        self._loads.heard(report, self._clock())

    async def listen(self, bus: Bus, namespace: str, component: str) -> None:
        """Follow the component's load reports until cancelled. The rule works without, by its own sends alone."""
        decoder = msgspec.msgpack.Decoder(LoadReport)
        async with bus.subscribe(load_subject(namespace, component), max_pending=1024) as messages:
            async for message in messages:
                try:
                    self.heard(decoder.decode(message.payload))
                except msgspec.DecodeError as error:
                    _log.warning("router.bad_load_report subject=%s error=%s", message.subject, error)
