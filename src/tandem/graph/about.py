"""What a processor in another process is asked, and says of itself."""

import msgspec

from tandem.core.openai_out import Model


class Nothing(msgspec.Struct, frozen=True):
    """A request without content."""


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is served, and whether it can be."""

    models: list[Model] = []
    not_ready: str | None = None
