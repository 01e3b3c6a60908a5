"""Inputs over the workers of a model that embeds: each to an instance of its own choice, some at a time."""

import asyncio
import base64
import struct
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol

from tandem.core.cards import InstanceCard
from tandem.core.embeddings import (
    Embedding,
    EmbeddingList,
    EmbeddingsCall,
    EmbeddingsRequest,
    EmbeddingsUsage,
    EmbedOutput,
    EmbedRequest,
)
from tandem.core.routing import RouteRequest
from tandem.errors import ContextTooLong, InstanceLost, RequestError, ServingError, Unavailable
from tandem.observe import metrics
from tandem.processor.ports import Router
from tandem.processor.prepare import inputs_in_tokens
from tandem.processor.serving import ServedModel, ServedModels

_AT_ONCE: Final = 64
"""Inputs of one request that are with workers at the same time."""
_TRIES: Final = 3
"""Instances that one input is given to, while those that had it are lost."""


class EmbedCall(Protocol):
    """`Runtime.call`, for embeddings."""

    def __call__(
        self,
        card_or_address: InstanceCard | str,
        endpoint: str,
        request: EmbedRequest,
        response_type: type[EmbedOutput],
        *,
        request_id: str = "",
        deadline: float | None = None,
    ) -> AsyncGenerator[EmbedOutput, None]: ...


class Embedder:
    """Makes embeddings."""

    def __init__(self, models: ServedModels, router: Router, call: EmbedCall) -> None:
        self._models = models
        self._router = router
        self._call = call

    async def embed(self, call: EmbeddingsCall) -> EmbeddingList:
        """The answer, whole.

        Raises:
            RequestError: a model that does not embed, an input without tokens or with too many.
            ServingError: what a worker raised; the other inputs are given up.
        """
        request, model = call.request, self._models.find(call.request.model)
        if not model.embeds:
            raise RequestError(f"the model {model.name!r} does not embed: it writes text", param="model")
        began = time.perf_counter()
        inputs = await inputs_in_tokens(model.text, request.input)
        metrics.TOKENIZE_SECONDS.observe(time.perf_counter() - began)
        for token_ids in inputs:
            if len(token_ids) > model.max_model_len:
                message = f"an input has {len(token_ids)} tokens; the model takes {model.max_model_len}"
                raise ContextTooLong(message, param="input")
        total = sum(map(len, inputs))
        metrics.PROMPT_TOKENS.inc(total)
        places = asyncio.Semaphore(_AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._one(places, call, model, index, token_ids))
                    for index, token_ids in enumerate(inputs)
                ]
        except* ServingError as errors:
            raise errors.exceptions[0] from errors
        data = [Embedding(index=index, embedding=_shown(task.result(), request)) for index, task in enumerate(tasks)]
        return EmbeddingList(data=data, model=model.name, usage=EmbeddingsUsage(total, total))

    async def _one(
        self, places: asyncio.Semaphore, call: EmbeddingsCall, model: ServedModel, index: int, token_ids: list[int]
    ) -> bytes:
        request_id = f"{call.origin.request_id}-{index}"
        request = EmbedRequest(
            request_id=request_id,
            token_ids=token_ids,
            dimensions=call.request.dimensions,
            priority=call.request.priority or 0,
        )
        async with places:
            lost: set[str] = set()
            while True:
                cards = self._models.candidates(model, without=lost)
                if not cards:
                    raise Unavailable(f"no worker embeds with {model.name} at the moment")
                names = [card.instance_id for card in cards]
                choice = await self._router.choose(
                    RouteRequest(request_id=request_id, candidates=names, token_ids=token_ids, sequences=1)
                )
                card = next((card for card in cards if card.instance_id == choice.instance_id), cards[0])
                try:
                    answers = self._call(
                        card, "embed", request, EmbedOutput, request_id=request_id, deadline=call.origin.deadline
                    )
                    async with aclosing(answers):
                        async for answer in answers:
                            return answer.vector
                    raise InstanceLost(f"instance {card.instance_id} ended without an embedding")
                except InstanceLost:
                    lost.add(card.instance_id)
                    if len(lost) >= _TRIES:
                        raise
                    metrics.RECOVERIES.labels("rerouted").inc()
                finally:
                    self._router.finished(request_id)


def _shown(vector: bytes, request: EmbeddingsRequest) -> list[float] | str:
    if request.encoding_format == "base64":
        return base64.b64encode(vector).decode()
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))
