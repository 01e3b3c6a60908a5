"""The processor: OpenAI's requests in, OpenAI's answers out, tokens in between.

    request ─► template, tokenizer ─► router ─► decode worker ─► detokenizer, stop, thinking, calls ─► answer

Every accepted request ends once: its stream finishes, raises a `ServingError`, or is closed by the caller.
"""

import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

import msgspec
from msgspec import UNSET

from tandem.core.embeddings import EmbeddingList, EmbeddingsCall
from tandem.core.openai_in import ChatCall, ChatRequest, CompletionCall, CompletionRequest, Origin, RequestFields
from tandem.core.openai_out import ChatReply, Completion, Model, Spent, TextChoice
from tandem.core.outlet import Outlet
from tandem.core.tokens import Detokenized, DetokenizeRequest, TokenizeCall, Tokenized
from tandem.errors import RequestError
from tandem.observe.stories import Stories
from tandem.processor.chat import ChatFold, ChatStream, ChatWriter
from tandem.processor.completions import CompletionFold, CompletionWriter
from tandem.processor.embeddings import Embedder
from tandem.processor.envelope import Envelope, ResponseForm
from tandem.processor.generate import Generator, Prompt
from tandem.processor.grammars import Thoughts, thoughts_before
from tandem.processor.lane import TEXT, Lane, OpenLane, parts_of
from tandem.processor.model import TextModel
from tandem.processor.parsers.choosing import Formats, formats_for
from tandem.processor.parsers.registry import reasoning_format, tool_format
from tandem.processor.prepare import PromptText, chat_prompt, completion_prompts, encode, to_generate
from tandem.processor.reading import Reading, reading_for
from tandem.processor.serving import ServedModel, ServedModels
from tandem.processor.telling import Teller


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorOptions:
    """How answers are made."""

    response_form: ResponseForm = "openai"
    reasoning_parser: str = "auto"
    """A name that `parsers.registry` knows, `none`, or `auto`: as the model's card shows."""
    tool_call_parser: str = "auto"
    """Likewise."""
    default_max_tokens: int | None = None
    """Output limit of requests that name none. Tokens; None: all that the context leaves."""

    def __post_init__(self) -> None:
        """Raises `ConfigError` for a parser that is not there."""
        for name, find in ((self.reasoning_parser, reasoning_format), (self.tool_call_parser, tool_format)):
            if name != "auto":
                find(name)


class Processor:
    """Serves chats and plain completions. One per process; any number of requests at once."""

    def __init__(
        self,
        models: ServedModels,
        generator: Generator,
        stories: Stories,
        options: ProcessorOptions | None = None,
        embedder: Embedder | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._models = models
        self._generator = generator
        self._teller = Teller(stories, wall_clock)
        self._options = options or ProcessorOptions()
        self._embedder = embedder
        self._formats: dict[TextModel, Formats] = {}

    def models(self) -> list[Model]:
        """What can be asked for."""
        return [
            Model(
                id=model.name,
                created=model.created,
                root=model.lora_path or model.path,
                parent=model.parent,
                max_model_len=model.max_model_len,
            )
            for model in self._models.all()
        ]

    def not_ready(self) -> str | None:
        """Why no request can be answered now, or None."""
        return self._models.not_ready()

    async def chat(self, call: ChatCall, outlet: Outlet | None = None) -> AsyncGenerator[ChatReply | Spent, None]:
        """Chunks, or with `stream` unset one completion; around them what a metered one costs. Closing it cancels.

        Args:
            outlet: where chunks of plain text may be written at once: those are not yielded.

        Raises: `RequestError` and its kin before anything is generated; what generating raised.
        """
        origin, request = _in_session(call.origin, call.request), call.request
        with self._teller.ending(origin) as end:
            model, began = self._writing(request), time.perf_counter()
            prompt = await chat_prompt(model.text, request)
            reading = self._reading(model.text, request, prompt.text)
            prompts = self._to_generate(origin, model, request, [prompt], reading)
            self._teller.tokenized(origin, prompts, time.perf_counter() - began)
            envelope = self._envelope(origin, request, prompts, model, "chatcmpl-")
            writers = [ChatWriter(model.text, reading=reading, asked=request) for _ in prompts[0].sequences]
            stream = ChatStream(envelope, writers)
            if origin.metered:
                yield envelope.spent()
            folds = [ChatFold(i, writer) for i, writer in enumerate(writers)]
            lane = None
            if len(writers) == 1 and not (request.stream and outlet is None):
                lane = stream.lane(outlet) if request.stream and outlet is not None else folds[0].lane()
            async with self._generator.pieces(origin, model, prompts, lane) as pieces:
                async for piece in pieces:
                    if request.stream:
                        for chunk in stream.chunks(piece):
                            yield chunk
                    else:
                        folds[piece.index].add(piece)
            end(envelope)
            usage = envelope.usage(sum(writer.reasoning_tokens for writer in writers) or None)
            if not request.stream:
                choices = [fold.choice() for fold in folds]
                about_prompt = folds[0].prompt_logprobs(prompt.token_ids)
                yield envelope.answer(choices, usage if envelope.usage_in_answer else None, about_prompt)
            elif envelope.usage_at_end:
                yield envelope.chunk([], usage)
            if origin.metered:
                yield envelope.spent()

    async def complete(
        self, call: CompletionCall, outlet: Outlet | None = None
    ) -> AsyncGenerator[Completion | Spent, None]:
        """Events of a stream, or with `stream` unset one completion. Closing it cancels. Raises as `chat`."""
        origin, request = _in_session(call.origin, call.request), call.request
        with self._teller.ending(origin) as end:
            if request.best_of is not None and request.best_of != (request.n or 1):
                message = (
                    f"best_of {request.best_of} must be n, which is {request.n or 1}: no answer is thrown away here"
                )
                raise RequestError(message, param="best_of")
            model, began = self._writing(request), time.perf_counter()
            texts = await completion_prompts(model.text, request)
            prompts = self._to_generate(origin, model, request, texts)
            self._teller.tokenized(origin, prompts, time.perf_counter() - began)
            envelope = self._envelope(origin, request, prompts, model, "cmpl-")
            if origin.metered:
                yield envelope.spent()
            writers = [
                CompletionWriter(model.text, request, sequence.text.index, text)
                for text, prompt in zip(texts, prompts, strict=True)
                for sequence in prompt.sequences
            ]
            folds = [CompletionFold(i) for i in range(len(writers))]
            lane = self._completion_lane(request, envelope, writers, folds, outlet)
            async with self._generator.pieces(origin, model, prompts, lane) as pieces:
                async for piece in pieces:
                    choice = writers[piece.index].choice(piece)
                    if choice is not None and request.stream:
                        yield envelope.completion([choice], envelope.usage_on_chunks)
                    elif choice is not None:
                        folds[piece.index].add(choice)
            end(envelope)
            if not request.stream:
                usage = envelope.usage() if envelope.usage_in_answer else None
                yield envelope.completion([fold.choice() for fold in folds], usage)
            elif envelope.usage_at_end:
                yield envelope.completion([], envelope.usage())
            if origin.metered:
                yield envelope.spent()

    def _completion_lane(
        self,
        request: CompletionRequest,
        envelope: Envelope,
        writers: list[CompletionWriter],
        folds: list[CompletionFold],
        outlet: Outlet | None,
    ) -> OpenLane | None:
        """Where plain text of the only sequence may go, if there is only one."""
        if len(writers) != 1 or (request.stream and (outlet is None or envelope.usage_differs)):
            return None
        if request.stream and outlet is not None:
            event = envelope.completion([TextChoice(index=0, text=TEXT)], envelope.usage_on_chunks)
            lane = Lane(outlet.ready, outlet.events(parts_of(event)))
        else:
            lane = folds[0].lane()
        return lambda: lane if writers[0].plain else None

    async def embed(self, call: EmbeddingsCall) -> EmbeddingList:
        """Embeddings of the inputs. Raises `RequestError` and its kin, as `chat`."""
        if self._embedder is None:
            raise RequestError("nothing embeds here", param="model")
        return await self._embedder.embed(call)

    async def tokenize(self, call: TokenizeCall) -> Tokenized:
        """A text or a chat's prompt in tokens. Raises as `chat`."""
        model = self._models.find(call.model)
        if call.chat is not None:
            ids = (await chat_prompt(model.text, call.chat)).token_ids
        else:
            ids = await encode(model.text, call.text or "", add_special_tokens=call.add_special_tokens)
        strs = [model.text.token_bytes(token).decode("utf-8", "replace") for token in ids] if call.token_strs else UNSET
        return Tokenized(count=len(ids), max_model_len=model.max_model_len, tokens=ids, token_strs=strs)

    async def detokenize(self, request: DetokenizeRequest) -> Detokenized:
        """Tokens as text, special ones spelt out. Raises `RequestError` for tokens that the model does not have."""
        model = self._models.find(request.model)
        model.text.check_token_ids(request.tokens, "tokens")
        return Detokenized(model.text.decode(request.tokens))

    def _writing(self, request: RequestFields) -> ServedModel:
        model = self._models.find(request.model)
        if model.embeds:
            raise RequestError(f"the model {model.name!r} writes no text: it embeds", param="model")
        return model

    def _to_generate(
        self,
        origin: Origin,
        model: ServedModel,
        request: ChatRequest | CompletionRequest,
        texts: list[PromptText],
        reading: Reading | None = None,
    ) -> list[Prompt]:
        return to_generate(
            origin,
            model,
            request,
            texts,
            default_max_tokens=self._options.default_max_tokens,
            keep=reading.special_tokens if reading is not None else (),
            grammar=reading.grammar if reading is not None else None,
            thoughts=_thoughts(model.text, request, texts[0].text, reading),
            max_thinking_tokens=self._thinking_limit(model.text, request),
        )

    def _thinking_limit(self, model: TextModel, request: ChatRequest | CompletionRequest) -> int | None:
        """Most tokens of a thought, for the engine. None too where the model does not think."""
        if not isinstance(request, ChatRequest):
            return None
        asked, field = request.thinking_token_budget, "thinking_token_budget"
        if asked is None:
            asked, field = request.thinking_budget, "thinking_budget"
        form = self._formats[model].reasoning
        if asked is None or asked < 0 or form is None:
            return None
        if form.tags is not None and all(len(model.encode(tag, add_special_tokens=False)) == 1 for tag in form.tags):
            return asked
        if request.fit_max_tokens:
            return None
        raise RequestError(f"{field}: the thoughts of this model end with no token of their own", param=field)

    def _envelope(
        self, origin: Origin, request: RequestFields, prompts: list[Prompt], model: ServedModel, prefix: str
    ) -> Envelope:
        form = self._options.response_form
        return Envelope(origin, request, prompts, prefix=prefix, form=form, model=model.name)

    def _reading(self, text: TextModel, request: ChatRequest, prompt: str) -> Reading:
        """How the answers are told apart: thoughts and tool calls, where model and request have them."""
        options = self._options
        if text not in self._formats:
            assert text.template is not None, "a chat was rendered without a template"
            self._formats[text] = formats_for(
                text.template.source,
                text.architectures,
                tools=options.tool_call_parser,
                reasoning=options.reasoning_parser,
            )
        split = options.response_form != "guide"
        return reading_for(self._formats[text], request, prompt, split=split, is_special=text.is_special)


def _in_session(origin: Origin, request: RequestFields) -> Origin:
    """Requests of one `prompt_cache_key` are a session for the router, unless a header names one."""
    if request.prompt_cache_key is None or origin.session_id is not None:
        return origin
    return msgspec.structs.replace(origin, session_id=request.prompt_cache_key)


def _thoughts(
    model: TextModel, request: ChatRequest | CompletionRequest, prompt: str, reading: Reading | None
) -> Thoughts | None:
    """What the answer may begin with. A mark that is a special token is no text to an engine's grammar."""
    if reading is None or not isinstance(request, ChatRequest):
        return None
    thoughts = thoughts_before(reading.formats.reasoning, prompt, goes_on=request.continue_final_message)
    if thoughts is None or model.is_special(thoughts.open) or model.is_special(thoughts.close):
        return None
    return thoughts
