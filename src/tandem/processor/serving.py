"""Which models the workers serve, with the text side of each; who may take a request for one.

Names, context length and model folder come from the workers' cards. A configured folder or name takes the
place of theirs, never of the numbers that depend on how their engine was started.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from tandem.core.cards import InstanceCard
from tandem.errors import ConfigError, ModelNotFound, Unavailable
from tandem.observe import metrics
from tandem.processor.model import TextModel
from tandem.runtime.ports import InstanceView

_log = logging.getLogger(__name__)
_LOAD_AGAIN_AFTER_S = 5.0
"""A model folder may be on a mount that comes up later than we do."""

Load = Callable[[str], TextModel]


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that clients can ask for by `name`."""

    name: str
    path: str
    text: TextModel
    max_model_len: int
    """Smallest of the workers that serve it now: any of them must be able to take what is accepted."""
    embeds: bool = False
    """It makes embeddings and writes no text."""
    parent: str | None = None
    """Of a LoRA adapter: the model below it, whose text side it has."""
    lora_path: str | None = None
    """Of a LoRA adapter: its folder, by its workers' word."""
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def lora_name(self) -> str | None:
        """What a worker is asked to apply."""
        return None if self.parent is None else self.name


class ServedModels:
    """Follows a component's instances."""

    def __init__(
        self,
        view: InstanceView,
        *,
        component: str,
        model_path: str | None = None,
        served_model_name: str | None = None,
        min_workers: int = 1,
        load: Load | None = None,
    ) -> None:
        self._view = view
        self._component = component
        self._model_path = model_path
        self._served_model_name = served_model_name
        self._min_workers = max(1, min_workers)
        self._load = load or TextModel.load
        self._texts: dict[str, TextModel] = {}
        self._faults: dict[str, str] = {}
        self._models: dict[str, ServedModel] = {}
        self._changed = asyncio.Condition()

    async def prepare(self) -> None:
        """Load the configured model folder, if there is one. Raises `ConfigError` when that cannot be."""
        if self._model_path is not None:
            self._texts[self._model_path] = await asyncio.to_thread(self._load, self._model_path)

    async def follow(self) -> None:
        """Keep up with the instances, until cancelled."""
        async for cards in self._view.changes():
            metrics.INSTANCES.labels(self._component).set(len(cards))
            while not await self.refresh(cards):
                await asyncio.sleep(_LOAD_AGAIN_AFTER_S)
                cards = self._view.all()

    async def refresh(self, cards: Sequence[InstanceCard]) -> bool:
        """Take note of these instances and load what they serve; False when a folder could not be read."""
        limits: dict[str, int] = {}
        paths: dict[str, str] = {}
        embeds: dict[str, bool] = {}
        adapters: dict[str, tuple[str, str]] = {}
        for card in cards:
            if card.model is not None and _decodes(card):
                name = self._name_of(card)
                limit = card.engine.max_model_len if card.engine else card.model.max_model_len
                limits[name] = min(limits.get(name, limit), limit)
                embeds[name] = "embed" in card.endpoints
                paths.setdefault(name, self._model_path or card.model.model_path)
                for adapter, folder in (card.engine.adapters if card.engine else {}).items():
                    adapters.setdefault(adapter, (name, folder))
        for name, path in paths.items():
            text = await self._text(path)
            if text is None:
                continue
            known = self._models.get(name) or ServedModel(name, path, text, limits[name])
            self._models[name] = replace(known, path=path, text=text, max_model_len=limits[name], embeds=embeds[name])
        for name, (parent, folder) in adapters.items():
            if name not in paths and parent in self._models:
                below = self._models[parent]
                created = self._models[name].created if name in self._models else int(time.time())
                self._models[name] = replace(below, name=name, parent=parent, lora_path=folder, created=created)
        async with self._changed:
            self._changed.notify_all()
        return all(path in self._texts for path in paths.values())

    def all(self) -> list[ServedModel]:
        """Every model that was ever served here, by name, adapters last: one whose workers are gone may come back."""
        return sorted(self._models.values(), key=lambda model: (model.parent is not None, model.name))

    def find(self, name: str | None) -> ServedModel:
        """The model of that name, or the only one that is no adapter.

        Raises:
            ModelNotFound: there is none of that name, or none was named and there are several.
            Unavailable: nobody serves any model yet.
        """
        if not self._models:
            raise Unavailable(self.not_ready() or "no model is served yet")
        if name is None:
            bases = [model for model in self._models.values() if model.parent is None]
            if len(bases) == 1:
                return bases[0]
            raise ModelNotFound("several models are served: name one", param="model")
        if name not in self._models:
            raise ModelNotFound.named(name)
        return self._models[name]

    def candidates(self, model: ServedModel, *, without: set[str] | frozenset[str] = frozenset()) -> list[InstanceCard]:
        """Instances that serve it now."""
        return [
            card
            for card in self._view.all()
            if card.model is not None
            and card.instance_id not in without
            and _decodes(card)
            and self._name_of(card) == (model.parent or model.name)
            and (model.parent is None or _has_adapter(card, model.name))
        ]

    async def candidates_later(self, model: ServedModel, *, without: set[str], timeout_s: float) -> list[InstanceCard]:
        """The same, waiting for one to come; empty after `timeout_s`."""
        changes: AsyncIterator[Sequence[InstanceCard]] = self._view.changes()
        try:
            async with asyncio.timeout(timeout_s):
                async for _ in changes:
                    if found := self.candidates(model, without=without):
                        return found
        except TimeoutError:
            pass
        return []

    def not_ready(self) -> str | None:
        """Why no request can be answered now, or None."""
        decoding = sum(1 for card in self._view.all() if card.model is not None and _decodes(card))
        if self._faults:
            return next(iter(self._faults.values()))
        if decoding < self._min_workers:
            return f"{decoding} of {self._min_workers} decode workers ({self._component}) are there"
        if not self._models:
            return "the model's tokenizer is being loaded"
        return None

    async def wait_ready(self) -> None:
        """Return when a request could be answered."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.not_ready() is None)

    def _name_of(self, card: InstanceCard) -> str:
        assert card.model is not None
        return self._served_model_name or card.model.served_model_name

    async def _text(self, path: str) -> TextModel | None:
        if path not in self._texts:
            try:
                self._texts[path] = await asyncio.to_thread(self._load, path)
            except (ConfigError, OSError) as error:
                if path not in self._faults:
                    _log.error("processor.model_unreadable path=%s error=%s", path, error)
                self._faults[path] = f"the model folder {Path(path)} cannot be read here: {error}"
                return None
            self._faults.pop(path, None)
        return self._texts[path]


def _decodes(card: InstanceCard) -> bool:
    return not card.roles or "decode" in card.roles


def _has_adapter(card: InstanceCard, name: str) -> bool:
    return card.engine is not None and name in card.engine.adapters
