"""POST /v1/embeddings, in OpenAI's form."""

from tandem.core.embeddings import EmbeddingList, EmbeddingsCall, EmbeddingsRequest
from tandem.frontend.answering import Answering
from tandem.frontend.bodies import Decoder
from tandem.frontend.exchange import Exchange
from tandem.frontend.ports import Answers
from tandem.frontend.routes import Route


class Embeddings:
    """For models that embed."""

    def __init__(self, answering: Answering, processor: Answers) -> None:
        self._answering = answering
        self._processor = processor
        self._decoder = Decoder(EmbeddingsRequest)

    def routes(self) -> list[Route]:
        """The one."""
        return [
            Route(
                method="POST",
                path="/v1/embeddings",
                handler=self.post_embeddings,
                summary="Embed texts, with a model that does",
                request=EmbeddingsRequest,
                response=EmbeddingList,
                counts=True,
            )
        ]

    async def post_embeddings(self, exchange: Exchange) -> None:
        """POST /v1/embeddings."""
        with self._answering.place():
            request: EmbeddingsRequest = await self._answering.read(exchange, self._decoder)

            async def work() -> None:
                answer = await self._processor.embed(EmbeddingsCall(exchange.origin, request))
                await exchange.response.json(200, answer)

            await self._answering.run(exchange, request.model, False, work)
