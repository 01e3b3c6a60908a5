"""Settings of files and batches of requests."""

from dataclasses import dataclass

from tandem.settings.fields import setting


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchSettings:
    """`/v1/files` and `/v1/batches`: where they are kept, and how much of them. YAML section `Frontend`."""

    batch_folder: str | None = setting(None, env="TANDEM_BATCH_FOLDER")
    """Folder of uploaded files and of batches; front ends that name the same one share its batches. Default:
    `tandem/NAMESPACE/batches` in XDG_STATE_HOME, else in `~/.local/state`. `off`: neither is served."""

    batch_file_bytes: int = 200 * 1024 * 1024
    """Largest upload. Bytes."""

    batch_folder_bytes: int = 10 * 1024**3
    """All files together. Bytes; from there on uploads get 403."""

    batch_lines: int = 50_000
    """Most requests of one batch."""

    batch_lines_at_once: int = 8
    """Requests of batches that one front end runs at once while nobody else asks it: each live request takes one of
    these places, and one stays."""

    batch_lease_s: float = 20.0
    """After so long without a sign of life of whoever works on a batch, another process goes on with it. Seconds."""

    def check(self) -> list[str]:
        """What cannot work, in words."""
        names = ("batch_file_bytes", "batch_folder_bytes", "batch_lines", "batch_lines_at_once", "batch_lease_s")
        return [f"{name.replace('_', '-')} must be at least 1" for name in names if getattr(self, name) < 1]
