"""Tells how a request went: its story and its figures, once."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tandem.core.openai_in import Origin
from tandem.errors import ServingError
from tandem.observe import metrics, stages
from tandem.observe.stories import Stories
from tandem.processor.envelope import Envelope
from tandem.processor.generate import Prompt


@dataclass(frozen=True, slots=True)
class Teller:
    """Of one processor."""

    stories: Stories
    wall_clock: Callable[[], float]

    def tokenized(self, origin: Origin, prompts: list[Prompt], took_s: float) -> None:
        """Template and tokenizer are through."""
        tokens = sum(len(prompt.token_ids) for prompt in prompts)
        metrics.TOKENIZE_SECONDS.observe(took_s)
        metrics.PROMPT_TOKENS.inc(tokens)
        self.stories.add(
            origin.request_id,
            stages.TOKENIZED,
            duration_s=took_s,
            prompt_tokens=tokens,
            sequences=sum(len(prompt.sequences) for prompt in prompts),
        )

    @contextmanager
    def ending(self, origin: Origin) -> Iterator[Callable[[Envelope], None]]:
        """Tell how the body ends. It calls what it is given once the answer is complete."""
        complete = False

        def finished(envelope: Envelope) -> None:
            nonlocal complete
            complete = True
            self._finished(origin, envelope)

        try:
            yield finished
        except ServingError as error:
            self.stories.add(origin.request_id, stages.FAILED, code=error.code)
            raise
        except (GeneratorExit, asyncio.CancelledError):
            if not complete:
                self.stories.add(origin.request_id, stages.CANCELLED)
            raise
        except Exception:
            self.stories.add(origin.request_id, stages.FAILED, code=ServingError.code)
            raise

    def _finished(self, origin: Origin, envelope: Envelope) -> None:
        usage, cached = envelope.usage(), envelope.cached_tokens
        took_s = max(0.0, self.wall_clock() - origin.accepted_at)
        metrics.OUTPUT_TOKENS.inc(usage.completion_tokens)
        metrics.CACHED_TOKENS.inc(cached)
        metrics.E2E_SECONDS.observe(took_s)
        self.stories.add(
            origin.request_id,
            stages.FINISHED,
            duration_s=None,
            prompt_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            cached_tokens=cached,
            seconds=round(took_s, 6),
        )
