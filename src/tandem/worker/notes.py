"""What a worker writes down about one request, for `tandem trace`."""

import time

from tandem.core.story import Detail, Stage


class Notes:
    """Stages of one request on one instance, in the order in which they ended."""

    def __init__(self, instance_id: str) -> None:
        self.stages: list[Stage] = []
        self._instance_id = instance_id

    def add(self, name: str, *, at: float | None = None, duration_s: float | None = None, **detail: Detail) -> None:
        """A moment, or a span that has just ended. `at` is when it began: Unix seconds, by default worked out."""
        began = time.time() - (duration_s or 0.0) if at is None else at
        self.stages.append(Stage(name=name, at=began, duration_s=duration_s, instance=self._instance_id, detail=detail))
