"""The fast lane: byte for byte what the long way writes, in the same order, whatever comes in between."""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.processor.fakes import Answer, a_house, an_origin

from tandem.core.openai_in import ChatCall, ChatRequest, CompletionCall, CompletionRequest
from tandem.core.request import GenerateOutput, GenerateRequest
from tandem.errors import EngineFailed, InstanceLost
from tandem.processor.lane import TokenTexts, escaped
from tandem.processor.model import TextModel

Wire = list[bytes]
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {}}}
ALPHABET = 'ab \n"\\<éß🙂漢/{}\u2028\x7f'


class ScriptedOutlet:
    """Takes events while its script says that the client keeps up."""

    def __init__(self, wire: Wire, ready: Sequence[bool]) -> None:
        self.taken = 0
        self._wire = wire
        self._ready = ready
        self._asked = 0

    def ready(self) -> bool:
        self._asked += 1
        return not self._ready or self._ready[self._asked % len(self._ready)]

    def events(self, parts: Sequence[bytes]) -> Callable[[list[bytes]], None]:
        def write(texts: list[bytes]) -> None:
            assert all(texts), "no event is empty"
            self.taken += len(texts)
            self._wire += [b"data: " + text.join(parts) + b"\n\n" for text in texts]

        return write


def answering(tokens: Sequence[int], sizes: Sequence[int], lost_at: int | None = None) -> Answer:
    """A worker that says `tokens`, in outputs of `sizes` (again and again); lost once after `lost_at` of them."""
    times = 0

    async def answer(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        nonlocal times
        times += 1
        left, turn = list(tokens[request.replayed_tokens :]), 0
        said = request.replayed_tokens
        while left:
            size = sizes[turn % len(sizes)]
            turn += 1
            if times == 1 and lost_at is not None and said + size > lost_at:
                raise EngineFailed("died")
            new, left = left[:size], left[size:]
            said += len(new)
            yield GenerateOutput(new, finish_reason=None if left else "length", cached_tokens=0 if turn == 1 else None)

    return answer


async def written(
    model: TextModel, answers: Sequence[Answer], fields: dict[str, Any], *, chat: bool, ready: Sequence[bool] | None
) -> tuple[bytes, int]:
    """Everything that a client would get, and how many events went through the lane."""
    house = await a_house(model, *answers)
    wire: Wire = []
    outlet = None if ready is None else ScriptedOutlet(wire, ready)
    try:
        if chat:
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 500, **fields}
            replies: Any = house.processor.chat(ChatCall(an_origin(), msgspec.convert(body, ChatRequest)), outlet)
        else:
            body = {"prompt": "Hi", "max_tokens": 500, **fields}
            call = CompletionCall(an_origin(), msgspec.convert(body, CompletionRequest))
            replies = house.processor.complete(call, outlet)
        async for reply in replies:
            wire.append(b"data: " + msgspec.json.encode(reply) + b"\n\n")
        assert house.workers.open == 0
    finally:
        house.following.cancel()
        await asyncio.gather(house.following, return_exceptions=True)
    same_ids = re.sub(rb'"(created|id)":("call_\w+"|\d+)', b"", b"".join(wire))
    return same_ids, outlet.taken if outlet else 0


def texts(wire: bytes, part: str) -> list[str]:
    """Content and reasoning of all events together."""
    found = ["", ""]
    for event in wire.split(b"data: ")[1:]:
        for choice in msgspec.json.decode(re.sub(rb"([{,]),+", rb"\1", event).strip())["choices"]:
            told = choice.get(part, choice)
            found[0] += told.get("content") or told.get("text") or ""
            found[1] += told.get("reasoning_content") or ""
    return found


FIELDS: list[dict[str, Any]] = [
    {},
    {"stream_options": {"include_usage": True}},
    {"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
    {"stop": ["ab", "é🙂"]},
    {"stop": ["<", "b\n"], "min_tokens": 9},
    {"skip_special_tokens": False},
    {"return_token_ids": True},
    {"include_reasoning": False},
]


@pytest.mark.timeout(60)
@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_stream_is_the_same_with_and_without_the_lane(text_model: TextModel, data: st.DataObject) -> None:
    chat = data.draw(st.booleans())
    fields = dict(data.draw(st.sampled_from(FIELDS)))
    stream = data.draw(st.booleans())
    if not stream:
        fields.pop("stream_options", None)
    if chat and data.draw(st.booleans()):
        fields["tools"] = [WEATHER]
    a_call = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'
    marks = st.sampled_from(["<think>", "</think>", "<tool_call>", a_call, "</tool_call>"])
    text = "".join(data.draw(st.lists(st.one_of(st.text(ALPHABET, max_size=8), marks), max_size=6)))
    tokens = text_model.encode(text, add_special_tokens=False)
    tokens += data.draw(st.lists(st.integers(0, text_model.vocab_size + 3), max_size=20)) or [300]
    sizes = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4))
    lost_at = data.draw(st.none() | st.integers(0, len(tokens)))
    ready = data.draw(st.lists(st.booleans(), max_size=5))

    def both(stream: bool, ready: Sequence[bool] | None) -> bytes:
        answers = [answering(tokens, sizes, lost_at), answering(tokens, sizes)]
        return asyncio.run(written(text_model, answers, {**fields, "stream": stream}, chat=chat, ready=ready))[0]

    slowly = both(True, None)
    if stream:
        assert both(True, ready) == slowly
    else:  # folded on a lane of its own: the stream says what the text must be
        assert texts(both(False, None), "message") == texts(slowly, "delta")


async def test_plain_text_takes_the_lane_and_nothing_else_does(text_model: TextModel) -> None:
    tokens = text_model.encode("One two three four five six.", add_special_tokens=False)

    async def taken(
        fields: dict[str, Any], sizes: Sequence[int] = (1,), chat: bool = True, tokens: Sequence[int] = tokens
    ) -> int:
        answers = [answering(tokens, sizes)]
        return (await written(text_model, answers, {"stream": True, **fields}, chat=chat, ready=[]))[1]

    middle = len(tokens) - 2
    assert await taken({}) == middle, "all but the first and the last"
    assert await taken({}, chat=False) == middle
    assert await taken({"stop": ["@"]}) == middle
    assert await taken({"stop": [" four"]}) < middle
    assert await taken({"tools": [WEATHER]}, tokens=[tokens[0]] * 9) == 7
    assert await taken({"logprobs": True}) == middle, "none came, so none are missing"
    assert await taken({"stream_options": {"include_usage": True, "continuous_usage_stats": True}}) == 0
    assert await taken({}, sizes=(2,)) == 0
    assert await taken({"n": 2}) == 0, "several sequences wait for each other"


async def test_thoughts_take_a_lane_of_their_own_until_they_end(text_model: TextModel) -> None:
    encode = text_model.encode
    said = [
        encode(text, add_special_tokens=False)
        for text in ("<think>", "\nwell well well\n", "</think>", "\n\nyes yes yes")
    ]
    answers = [answering([token for part in said for token in part], [1])]
    fields = {"stream": True, "stream_options": {"include_usage": True}}
    wire, taken = await written(text_model, answers, fields, chat=True, ready=[])
    assert texts(wire, "delta") == ["yes yes yes", "well well well"]
    assert taken >= len(said[1]) + len(said[3]) - 8
    answers = [answering([token for part in said for token in part], [1])]
    assert (wire, 0) == await written(text_model, answers, fields, chat=True, ready=None)


@pytest.mark.parametrize("asked", [{"include_reasoning": False}, {"return_token_ids": True}])
async def test_a_thought_that_is_not_shown_or_whose_tokens_are_told_takes_no_lane(
    text_model: TextModel, asked: dict[str, Any]
) -> None:
    tokens = text_model.encode("<think>\nwell well well\n</think>\n\nyes yes yes", add_special_tokens=False)
    fields = {"stream": True, **asked}
    wire, _ = await written(text_model, [answering(tokens, [1])], fields, chat=True, ready=[])
    assert texts(wire, "delta") == ["yes yes yes", "well well well" if "return_token_ids" in asked else ""]
    assert (wire, 0) == await written(text_model, [answering(tokens, [1])], fields, chat=True, ready=None)


async def test_a_loss_in_the_middle_of_the_lane_repeats_and_omits_nothing(text_model: TextModel) -> None:
    tokens = text_model.encode("One two three four five six seven eight.", add_special_tokens=False)
    whole, _ = await written(text_model, [answering(tokens, [1])], {"stream": True}, chat=True, ready=None)
    for error_at in range(len(tokens)):
        answers = [answering(tokens, [1], error_at), answering(tokens, [1])]
        assert (await written(text_model, answers, {"stream": True}, chat=True, ready=[]))[0] == whole


async def test_leaving_in_the_middle_of_the_lane_closes_the_call(text_model: TextModel) -> None:
    begun = asyncio.Event()

    async def endless(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        yield GenerateOutput([300], cached_tokens=0)
        while True:
            begun.set()
            await asyncio.sleep(0)
            yield GenerateOutput([301])

    wire: Wire = []
    house = await a_house(text_model, endless)
    body = {"messages": [{"role": "user", "content": "Hi"}], "stream": True}

    async def read() -> None:
        call = ChatCall(an_origin(), msgspec.convert(body, ChatRequest))
        async for _ in house.processor.chat(call, ScriptedOutlet(wire, [])):
            pass

    reading = asyncio.create_task(read())
    await begun.wait()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert house.workers.open == 0
    stages = [stage.name for stage in house.stories.get("r-1") or ()]
    assert stages[-1] == "cancelled"
    house.following.cancel()


async def test_a_loss_that_cannot_be_mended_is_raised_through_the_lane(text_model: TextModel) -> None:
    async def lost(request: GenerateRequest) -> AsyncGenerator[GenerateOutput, None]:
        for token in (300, 301, 302):
            yield GenerateOutput([token], cached_tokens=0 if token == 300 else None)
        raise InstanceLost("gone")

    with pytest.raises(InstanceLost):
        await written(text_model, [lost], {"stream": True}, chat=True, ready=[])


@given(st.text())
def test_escapes_are_those_of_json(text: str) -> None:
    assert b'"%b"' % escaped(text) == msgspec.json.encode(text)


def test_half_characters_and_foreign_tokens_are_told_apart() -> None:
    texts = TokenTexts([b"a", b'"', "é".encode()[:1], b""])
    assert [texts[token] for token in range(6)] == [b"a", b'\\"', None, b"", b"", b""]
