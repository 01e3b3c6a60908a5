"""A scripted decode worker behind the ports that the processor uses."""

import asyncio
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import msgspec

from tandem.core.cards import EngineFacts, InstanceCard, ModelCard
from tandem.core.embeddings import EmbedOutput, EmbedRequest
from tandem.core.openai_in import ChatCall, ChatRequest, Origin
from tandem.core.openai_out import ChatChunk, ChatCompletion
from tandem.core.request import STEP, GenerateOutput, GenerateRequest, Step, compact
from tandem.errors import InstanceLost
from tandem.observe.stories import Stories
from tandem.processor.embeddings import Embedder
from tandem.processor.generate import Generator
from tandem.processor.model import TextModel
from tandem.processor.service import Processor, ProcessorOptions
from tandem.processor.serving import ServedModels
from tandem.router.registry import rule_named
from tandem.router.service import RuleRouter

Answer = Callable[[GenerateRequest], AsyncGenerator[GenerateOutput, None]]


def a_card(
    instance_id: str = "w1",
    *,
    model: str = "tiny",
    path: str = "/m",
    max_model_len: int = 2048,
    endpoints: Sequence[str] = ("generate",),
) -> InstanceCard:
    return InstanceCard(
        instance_id=instance_id,
        namespace="dynamo",
        component="VllmWorker",
        endpoints=list(endpoints),
        address="127.0.0.1:1",
        roles=["decode"],
        engine=EngineFacts(
            engine="simulated",
            engine_version="1",
            engine_id=f"engine-{instance_id}",
            model_path=path,
            max_model_len=max_model_len,
            block_size_tokens=16,
            kv_blocks_total=100,
            block_bytes=0,
            max_num_seqs=8,
            max_num_batched_tokens=2048,
        ),
        model=ModelCard(served_model_name=model, model_path=path, max_model_len=max_model_len),
    )


class FakeView:
    """An `InstanceView` that a test moves."""

    def __init__(self, *cards: InstanceCard) -> None:
        self._cards = {card.instance_id: card for card in cards}
        self._moved = asyncio.Event()

    def all(self) -> Sequence[InstanceCard]:
        return [self._cards[key] for key in sorted(self._cards)]

    def get(self, instance_id: str) -> InstanceCard | None:
        return self._cards.get(instance_id)

    async def wait_for(self, count: int, *, timeout_s: float | None = None) -> Sequence[InstanceCard]:
        raise NotImplementedError

    async def changes(self) -> AsyncIterator[Sequence[InstanceCard]]:
        while True:
            moved = self._moved
            yield self.all()
            await moved.wait()

    def report_lost(self, instance_id: str) -> None:
        self.remove(instance_id)

    def add(self, *cards: InstanceCard) -> None:
        self._cards |= {card.instance_id: card for card in cards}
        self._tell()

    def remove(self, instance_id: str) -> None:
        self._cards.pop(instance_id, None)
        self._tell()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


class FakeAnswers:
    """`Answers` of what a script yields, in the form in which it travels."""

    def __init__(self, outputs: AsyncGenerator[GenerateOutput, None]) -> None:
        self._outputs = outputs
        self._refused: list[Step] = []
        self._relayed = 0
        self._failure: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Step:
        if self._refused:
            return self._refused.pop(0)
        if self._failure is not None:
            raise self._failure
        return compact(await anext(self._outputs))

    async def relay(self, take: Callable[[Sequence[Step]], int]) -> None:
        """In portions of one, two and three."""
        while portion := await self._portion(self._relayed % 3 + 1):
            self._relayed += 1
            taken = take(portion)
            if taken < len(portion):
                self._refused = portion[taken:] + self._refused
                return

    async def _portion(self, size: int) -> list[Step]:
        """As many as are there; how the stream ends is left to whoever iterates."""
        portion: list[Step] = []
        while len(portion) < size:
            if self._failure is not None:
                break
            try:
                portion.append(await anext(self))
            except StopAsyncIteration:
                break
            except Exception as failure:
                self._failure = failure
        return portion

    async def aclose(self) -> None:
        await self._outputs.aclose()


@dataclass
class FakeWorkers:
    """`Runtime.call` to scripted workers. As the real one, it reports an instance that it finds lost."""

    view: FakeView
    answers: dict[str, Answer] = field(default_factory=dict)
    default: Answer | None = None
    calls: list[tuple[str, GenerateRequest]] = field(default_factory=list)
    open: int = 0
    """Calls that run."""
    embedded: list[tuple[str, EmbedRequest]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    """Instances that are found dead when they are to embed."""

    def call(
        self,
        card_or_address: InstanceCard | str,
        endpoint: str,
        request: GenerateRequest,
        response_type: type[Step],
        *,
        request_id: str = "",
        deadline: float | None = None,
    ) -> "FakeAnswers":
        assert (endpoint, response_type, request_id) == ("generate", STEP, request.request_id)
        return FakeAnswers(self._outputs(card_or_address, request))

    async def _outputs(
        self, card_or_address: InstanceCard | str, request: GenerateRequest
    ) -> AsyncGenerator[GenerateOutput, None]:
        assert isinstance(card_or_address, InstanceCard)
        self.calls.append((card_or_address.instance_id, request))
        answer = self.answers.get(card_or_address.instance_id, self.default)
        assert answer is not None
        self.open += 1
        stream = answer(request)
        try:
            async for output in stream:
                yield output
        except InstanceLost:
            self.view.report_lost(card_or_address.instance_id)
            raise
        finally:
            self.open -= 1
            await stream.aclose()

    async def embed(
        self,
        card_or_address: InstanceCard | str,
        endpoint: str,
        request: EmbedRequest,
        response_type: type[EmbedOutput],
        *,
        request_id: str = "",
        deadline: float | None = None,
    ) -> AsyncGenerator[EmbedOutput, None]:
        """First token, count of tokens, and the dimensions asked for."""
        assert isinstance(card_or_address, InstanceCard)
        assert (endpoint, request_id) == ("embed", request.request_id)
        name = card_or_address.instance_id
        self.embedded.append((name, request))
        if name in self.lost:
            self.view.report_lost(name)
            raise InstanceLost("gone")
        yield EmbedOutput(struct.pack("<3f", request.token_ids[0], len(request.token_ids), request.dimensions or 0))


def saying(model: TextModel, text: str, *, step: int = 1, eos: int | None = 2, cached: int = 0) -> Answer:
    """A worker that answers with `text`, then the end of sequence; cut at max_tokens."""

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        ids = model.encode(text, add_special_tokens=False)
        if request.replayed_tokens:  # it goes on where the lost one stopped
            ids = ids[request.replayed_tokens :]
        ids = ids if eos is None else [*ids, eos]
        limit = request.sampling.max_tokens
        cut = ids[:limit]
        for at in range(0, len(cut), step):
            await asyncio.sleep(0)
            new = cut[at : at + step]
            last = at + step >= len(cut)
            ended = last and eos is not None and len(ids) <= limit
            yield GenerateOutput(
                token_ids=new,
                finish_reason=("stop" if ended else "length") if last else None,
                stop_token_id=eos if ended else None,
                cached_tokens=cached if at == 0 else None,
            )

    return answer


@dataclass
class House:
    """A processor with everything around it."""

    view: FakeView
    workers: FakeWorkers
    models: ServedModels
    stories: Stories
    processor: Processor
    router: RuleRouter
    following: asyncio.Task[None]


async def a_house(
    text_model: TextModel,
    *answers: Answer,
    options: ProcessorOptions | None = None,
    path: Path | str = "/m",
    max_model_len: int = 2048,
    served_model_name: str | None = None,
    max_reroutes: int = 3,
    reroute_wait_s: float = 0.05,
    endpoints: Sequence[str] = ("generate",),
) -> House:
    """A processor over one scripted worker per answer: w1, w2, …"""
    names = [f"w{i}" for i in range(1, len(answers) + 1)]
    cards = [a_card(name, path=str(path), max_model_len=max_model_len, endpoints=endpoints) for name in names]
    view = FakeView(*cards)
    workers = FakeWorkers(view, dict(zip(names, answers, strict=True)))
    models = ServedModels(view, component="VllmWorker", served_model_name=served_model_name, load=lambda _: text_model)
    following = asyncio.create_task(models.follow())
    if names:
        await models.wait_ready()
    stories = Stories()
    router = RuleRouter(rule_named("round-robin"))
    embedder = Embedder(models, router, workers.embed)
    generator = Generator(
        models,
        router,
        workers.call,
        stories,
        max_reroutes=max_reroutes,
        reroute_wait_s=reroute_wait_s,
    )
    return House(
        view, workers, models, stories, Processor(models, generator, stories, options, embedder), router, following
    )


def an_origin(request_id: str = "r-1") -> Origin:
    return Origin(request_id=request_id, accepted_at=1_700_000_000.0)


MakeHouse = Callable[..., Awaitable[House]]
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}]


def chat_request(**fields: Any) -> ChatRequest:
    return msgspec.convert({"messages": [{"role": "user", "content": "Hi"}], **fields}, ChatRequest)


async def chat(house: House, **fields: Any) -> ChatCompletion:
    replies = [r async for r in house.processor.chat(ChatCall(an_origin(), chat_request(**fields)))]
    (reply,) = replies
    assert isinstance(reply, ChatCompletion)
    return reply


async def chunks(house: House, **fields: Any) -> list[ChatChunk]:
    replies = [r async for r in house.processor.chat(ChatCall(an_origin(), chat_request(stream=True, **fields)))]
    assert all(isinstance(reply, ChatChunk) for reply in replies)
    return [reply for reply in replies if isinstance(reply, ChatChunk)]
