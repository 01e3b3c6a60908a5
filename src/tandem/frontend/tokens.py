"""POST /tokenize and /detokenize, in vLLM's form."""

from tandem.core.openai_in import ChatRequest
from tandem.core.tokens import Detokenized, DetokenizeRequest, TokenizeCall, Tokenized, TokenizeRequest
from tandem.errors import RequestError
from tandem.frontend.answering import Answering
from tandem.frontend.bodies import Decoder
from tandem.frontend.exchange import Exchange
from tandem.frontend.ports import Answers
from tandem.frontend.routes import Route


class Tokens:
    """A model's tokenizer, over HTTP."""

    def __init__(self, answering: Answering, processor: Answers) -> None:
        self._answering = answering
        self._processor = processor
        self._tokenize = Decoder(TokenizeRequest)
        self._detokenize = Decoder(DetokenizeRequest)

    def routes(self) -> list[Route]:
        """Both ways."""
        return [
            Route(
                method="POST",
                path="/tokenize",
                handler=self.post_tokenize,
                summary="The tokens of a text, or of a conversation's prompt",
                request=TokenizeRequest,
                response=Tokenized,
                faults=(404, 503),
            ),
            Route(
                method="POST",
                path="/detokenize",
                handler=self.post_detokenize,
                summary="The text of tokens",
                request=DetokenizeRequest,
                response=Detokenized,
                faults=(404, 503),
            ),
        ]

    async def post_tokenize(self, exchange: Exchange) -> None:
        """POST /tokenize."""
        with self._answering.place():
            request: TokenizeRequest = await self._answering.read(exchange, self._tokenize)
            self._answering.check_model(exchange, request.model)
            await exchange.response.json(200, await self._processor.tokenize(call_of(request)))

    async def post_detokenize(self, exchange: Exchange) -> None:
        """POST /detokenize."""
        with self._answering.place():
            request: DetokenizeRequest = await self._answering.read(exchange, self._detokenize)
            self._answering.check_model(exchange, request.model)
            await exchange.response.json(200, await self._processor.detokenize(request))


def call_of(request: TokenizeRequest) -> TokenizeCall:
    """Raises `RequestError` unless it has either a text or a conversation."""
    strs = bool(request.return_token_strs)
    if request.prompt is not None and request.messages is None:
        special = request.add_special_tokens is not False
        return TokenizeCall(request.model, text=request.prompt, add_special_tokens=special, token_strs=strs)
    if request.messages is None or request.prompt is not None:
        raise RequestError("send either prompt or messages", param="prompt")
    if request.add_special_tokens:
        message = "add_special_tokens: the chat template writes the special tokens of a conversation"
        raise RequestError(message, param="add_special_tokens")
    chat = ChatRequest(
        messages=request.messages,
        tools=request.tools,
        chat_template_kwargs=request.chat_template_kwargs,
        add_generation_prompt=request.add_generation_prompt,
        continue_final_message=request.continue_final_message,
    )
    return TokenizeCall(request.model, chat=chat, token_strs=strs)
