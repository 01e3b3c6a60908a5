"""Sequences over decode workers: choose one, call it, and go on elsewhere when it is lost.

The processor re-routes only when the decode worker itself is lost (a lost prefill is the decode worker's
own business). Before the first token the same request goes to another instance; after it, prompt and
tokens so far do. A worker's stream that ends without a finish reason is a lost worker.
"""

import logging
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from tandem.core.cards import InstanceCard
from tandem.core.openai_in import Origin
from tandem.core.request import STEP, GenerateOutput, GenerateRequest, Step, expanded, lone_tokens
from tandem.core.routing import RouteChoice, RouteRequest
from tandem.errors import InstanceLost, Overloaded, ServingError, Unavailable
from tandem.observe import metrics, stages
from tandem.observe.stories import Stories
from tandem.processor.lane import Lane, OpenLane
from tandem.processor.merge import merged
from tandem.processor.pieces import Piece, SequenceText
from tandem.processor.ports import Call, Router
from tandem.processor.rules import about_field, addressed, after_loss, continued, explained, replay_note
from tandem.processor.serving import ServedModel, ServedModels

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Sequence:
    """One sequence to generate, and how far it has come."""

    request: GenerateRequest
    text: SequenceText
    sent: list[int] = field(default_factory=list)
    """Tokens so far: the prompt's end, should the worker be lost."""
    reroutes: int = 0
    failed: set[str] = field(default_factory=set)
    """Instances that it will not try again."""
    first_at: float | None = None
    """Monotonic seconds of the first token."""
    last_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt and its sequences (n of them), which start on one instance."""

    route_id: str
    token_ids: list[int]
    sequences: list[Sequence]
    cache_salt: str | None = None
    lora_name: str | None = None


class Generator:
    """Runs sequences. Holds no request's state beside the calls in progress."""

    def __init__(
        self,
        models: ServedModels,
        router: Router,
        call: Call,
        stories: Stories,
        *,
        endpoint: str = "generate",
        max_reroutes: int = 3,
        reroute_wait_s: float = 30.0,
        wall_clock: Callable[[], float] = time.time,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            endpoint: what decode workers call their endpoint for `GenerateRequest`s.
            max_reroutes: how often one sequence is sent elsewhere.
            reroute_wait_s: how long a request that lost its only worker waits for another one.
        """
        self._models = models
        self._router = router
        self._call = call
        self._stories = stories
        self._endpoint = endpoint
        self._max_reroutes = max_reroutes
        self._reroute_wait_s = reroute_wait_s
        self._wall_clock = wall_clock
        self._clock = clock
        self._itl = metrics.ITL_SECONDS.labels()

    @asynccontextmanager
    async def pieces(
        self, origin: Origin, model: ServedModel, prompts: list[Prompt], lane: OpenLane | None = None
    ) -> AsyncIterator[AsyncGenerator[Piece, None]]:
        """Pieces of all sequences of a request, as they come. Leaving the context cancels every call.

        Args:
            lane: asked after each piece that was read where plain text may go meanwhile; that text is in no piece.
                Only for a single sequence: with several, what went through a lane would overtake what waits.

        Reading raises what a worker raised and rerouting could not mend; entering raises `Unavailable` when no
        worker is there.
        """
        assert lane is None or sum(len(prompt.sequences) for prompt in prompts) == 1
        runs = []
        try:
            for prompt in prompts:
                cards = self._models.candidates(model)
                if not cards:
                    raise Unavailable(f"no decode worker serves {model.name} at the moment")
                card, choice = await self._choose(origin, prompt.route_id, prompt, cards)
                for sequence in prompt.sequences:
                    sequence.request = addressed(sequence.request, choice)
                    runs.append(self._sequence(origin, model, prompt, sequence, card, lane))
            metrics.REQUEST_QUEUE_SECONDS.observe(max(0.0, self._wall_clock() - origin.accepted_at))
            async with aclosing(merged(runs)) as stream:
                yield stream
        finally:
            for prompt in prompts:
                self._router.finished(prompt.route_id)

    async def _sequence(
        self,
        origin: Origin,
        model: ServedModel,
        prompt: Prompt,
        sequence: Sequence,
        card: InstanceCard,
        lane: OpenLane | None,
    ) -> AsyncGenerator[Piece, None]:
        """One sequence to its end, over as many instances as it takes."""
        request = sequence.request
        try:
            while True:
                try:
                    async with aclosing(
                        self._call(
                            card,
                            self._endpoint,
                            request,
                            STEP,
                            request_id=request.request_id,
                            deadline=request.deadline,
                        )
                    ) as steps:
                        async for step in steps:
                            output = expanded(step)
                            if output.token_ids and sequence.first_at is None:
                                self._router.prefilled(prompt.route_id)
                            piece = self._took(origin, sequence, output)
                            if piece is not None:
                                yield piece
                                if piece.finish_reason is not None:
                                    return
                            if lane is not None and sequence.first_at is not None and (way := lane()) is not None:
                                await steps.relay(self._taker(sequence, way))
                    raise InstanceLost(f"instance {card.instance_id} ended its answer without a finish reason")
                except ServingError as error:
                    card, request = await self._elsewhere(origin, model, prompt, sequence, card, error)
                if request.sampling.max_tokens < 1:  # lost between its last token and saying so
                    ended = sequence.text.feed(GenerateOutput(token_ids=[], finish_reason="length"))
                    assert ended is not None
                    yield ended
                    return
        finally:
            if sequence.reroutes:
                self._router.finished(_reroute_id(sequence))

    def _taker(self, sequence: Sequence, lane: Lane) -> Callable[[Iterable[Step]], int]:
        """Does what `_took` does, for single tokens of plain text that go through a lane."""
        ready, put, texts_of = lane.ready, lane.put, sequence.text.stepper(lane.passes)
        clock, observe = self._clock, self._itl.observe

        def take(steps: Iterable[Step]) -> int:
            if not ready():
                return 0
            tokens = lone_tokens(steps)
            texts = texts_of(tokens)
            count = len(texts)
            if count:
                now = clock()
                observe(now - sequence.last_at)
                if count > 1:
                    observe(0.0, count - 1)
                sequence.last_at = now
                sequence.sent += tokens[:count]
                if b"" in texts:
                    texts = [text for text in texts if text]
                if texts:
                    put(texts)
            return count

        return take

    def _took(self, origin: Origin, sequence: Sequence, output: GenerateOutput) -> Piece | None:
        """Count an output and turn it into text."""
        if output.token_ids:
            now = self._clock()
            if sequence.first_at is None:
                sequence.first_at = now
                metrics.TTFT_SECONDS.observe(max(0.0, self._wall_clock() - origin.accepted_at))
            else:
                self._itl.observe(now - sequence.last_at)
            sequence.last_at = now
            sequence.sent += output.token_ids
        if output.story:
            self._stories.extend(origin.request_id, output.story)
        piece = sequence.text.feed(output)
        if piece is not None and piece.finish_reason is not None:
            tokens = len(sequence.sent)
            if tokens > 1 and sequence.first_at is not None:
                metrics.TPOT_SECONDS.observe((sequence.last_at - sequence.first_at) / (tokens - 1))
            if output.finish_reason is None:
                self._stories.add(origin.request_id, stages.STOPPED, sequence=piece.index)
        return piece

    async def _choose(
        self, origin: Origin, route_id: str, prompt: Prompt, cards: list[InstanceCard], sequences: int | None = None
    ) -> tuple[InstanceCard, RouteChoice]:
        """An instance for a prompt, and what the router said."""
        count = len(prompt.sequences) if sequences is None else sequences
        if origin.instance_id is not None:
            cards = [card for card in cards if card.instance_id == origin.instance_id]
            if not cards:
                raise Unavailable(f"instance {origin.instance_id[:64]} does not serve this request now")
        ask = RouteRequest(
            request_id=route_id,
            candidates=[card.instance_id for card in cards],
            token_ids=prompt.token_ids,
            sequences=count,
            cache_salt=prompt.cache_salt,
            lora_name=prompt.lora_name,
            session_id=origin.session_id,
        )
        choice = await self._asked(ask)
        self._stories.add(
            origin.request_id,
            stages.ROUTED,
            to=choice.instance_id,
            rule=choice.rule,
            reason=choice.reason,
            candidates=len(cards),
            sequences=count,
            **explained(choice),
        )
        return next(card for card in cards if card.instance_id == choice.instance_id), choice

    async def _asked(self, ask: RouteRequest) -> RouteChoice:
        """The router's choice, or any candidate when it has none: a request does not wait for an optimisation."""
        try:
            choice = await self._router.choose(ask)
            if choice.instance_id in ask.candidates:
                return choice
            reason = "router_chose_unknown"
        except Unavailable:
            reason = "router_unavailable"
        metrics.FALLBACKS.labels(reason).inc()
        return RouteChoice(instance_id=random.choice(ask.candidates), rule="fallback", reason=reason)

    async def _elsewhere(
        self,
        origin: Origin,
        model: ServedModel,
        prompt: Prompt,
        sequence: Sequence,
        card: InstanceCard,
        error: ServingError,
    ) -> tuple[InstanceCard, GenerateRequest]:
        """Another instance for a sequence whose call ended in `error`, and what to ask of it. Or raise `error`."""
        now = self._wall_clock()
        deadline = sequence.request.deadline
        what = after_loss(
            error,
            output_tokens=len(sequence.sent),
            has_grammar=sequence.request.sampling.grammar is not None,
            reroutes=sequence.reroutes,
            max_reroutes=self._max_reroutes,
            late=deadline is not None and now >= deadline,
        )
        if what == "raise":
            raise about_field(error, sequence.request.sampling.grammar)
        sequence.failed.add(card.instance_id)
        sequence.reroutes += 1
        self._stories.add(
            origin.request_id,
            stages.INSTANCE_LOST,
            lost=card.instance_id,
            code=error.code,
            output_tokens=len(sequence.sent),
            sequence=sequence.text.index,
        )
        cards = self._models.candidates(model, without=sequence.failed)
        if not cards and not isinstance(error, Overloaded):
            wait_s = self._reroute_wait_s if deadline is None else min(self._reroute_wait_s, deadline - now)
            # A lost instance may answer again: the view leaves it out until then.
            without = sequence.failed - {card.instance_id} if isinstance(error, InstanceLost) else sequence.failed
            cards = await self._models.candidates_later(model, without=without, timeout_s=wait_s)
        if not cards:
            raise error
        again, choice = await self._choose(origin, _reroute_id(sequence), prompt, cards, 1)
        engine_id = f"{sequence.request.request_id}.{sequence.reroutes + 1}"
        request = addressed(continued(sequence.request, sequence.sent, engine_id), choice)
        kind = "replayed" if sequence.sent else "rerouted"
        metrics.RECOVERIES.labels(kind).inc()
        self._stories.add(
            origin.request_id,
            stages.REROUTED,
            to=again.instance_id,
            replayed_tokens=len(sequence.sent),
            note=(replay_note(request) if sequence.sent else "") or None,
            sequence=sequence.text.index,
        )
        _log.warning(
            "processor.rerouted request_id=%s lost=%s code=%s to=%s replayed_tokens=%d",
            origin.request_id,
            card.instance_id,
            error.code,
            again.instance_id,
            len(sequence.sent),
        )
        return again, request


def _reroute_id(sequence: Sequence) -> str:
    return f"{sequence.request.request_id}.rerouted"
