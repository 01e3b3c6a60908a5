"""How each of the last requests was made: a bounded store, read by `tandem trace REQUEST_ID`.

Oldest stories are forgotten first. Every process keeps its own; a worker's stages travel to the front
process with its last output (`GenerateOutput.story`) and are added there.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from tandem.core.story import Detail, Stage

_STAGES_PER_STORY = 512
"""A request with many sequences, each rerouted, stays under this; a loop that tells stages for ever does not."""


@dataclass(slots=True)
class Story:
    """One request's stages, in the order in which they were told."""

    request_id: str
    stages: list[Stage] = field(default_factory=list)
    dropped: int = 0
    """Stages over the bound."""


class StoryPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A story as JSON: stages sorted by when they began, times in Unix seconds."""

    request_id: str
    stages: list[Stage]
    dropped: int = 0


class Stories:
    """The last `limit` requests' stories."""

    def __init__(self, limit: int = 4096, *, instance: str = "", clock: Callable[[], float] = time.time) -> None:
        self._limit = limit
        self._instance = instance
        self._clock = clock
        self._stories: OrderedDict[str, Story] = OrderedDict()
        self._aliases: OrderedDict[str, str] = OrderedDict()

    def add(
        self,
        request_id: str,
        name: str,
        *,
        at: float | None = None,
        duration_s: float | None = None,
        **detail: Detail,
    ) -> None:
        """Tell a stage of `request_id`. `at` is when it began; without it, `duration_s` ago."""
        began = self._clock() - (duration_s or 0.0) if at is None else at
        self.extend(
            request_id,
            (Stage(name=name, at=began, duration_s=duration_s, instance=self._instance, detail=detail),),
        )

    def extend(self, request_id: str, stages: Iterable[Stage]) -> None:
        """Add stages that somebody else told."""
        story = self._stories.get(request_id)
        if story is None:
            story = self._stories[request_id] = Story(request_id)
            if len(self._stories) > self._limit:
                self._stories.popitem(last=False)
        for stage in stages:
            if len(story.stages) < _STAGES_PER_STORY:
                story.stages.append(stage)
            else:
                story.dropped += 1

    def alias(self, other_id: str, request_id: str) -> None:
        """Let a story be asked for by another name (the client's own request id). The latest one wins."""
        self._aliases.pop(other_id, None)
        self._aliases[other_id] = request_id
        if len(self._aliases) > self._limit:
            self._aliases.popitem(last=False)

    def get(self, request_id: str) -> list[Stage] | None:
        """The stages by request id, response id (`chatcmpl-…`) or alias, sorted by time; None when forgotten."""
        page = self.page(request_id)
        return None if page is None else page.stages

    def take(self, request_id: str) -> list[Stage]:
        """The stages as told, and forget them: what a worker sends home with its last output."""
        story = self._stories.pop(request_id, None)
        return [] if story is None else story.stages

    def page(self, request_id: str) -> StoryPage | None:
        """The story for showing."""
        found = self._find(request_id)
        if found is None:
            return None
        return StoryPage(found.request_id, sorted(found.stages, key=lambda stage: stage.at), found.dropped)

    def json(self, request_id: str) -> bytes | None:
        """The story as JSON, or None."""
        page = self.page(request_id)
        return None if page is None else msgspec.json.encode(page)

    def recent(self, count: int = 20) -> list[str]:
        """Request ids, newest first."""
        return list(reversed(self._stories))[:count]

    def _find(self, request_id: str) -> Story | None:
        bare = request_id.removeprefix("chatcmpl-").removeprefix("cmpl-")
        for name in (request_id, bare, self._aliases.get(request_id, "")):
            if name in self._stories:
                return self._stories[name]
        return None
