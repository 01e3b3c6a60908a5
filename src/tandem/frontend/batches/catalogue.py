"""Files and batches as clients see them: listed, read, cancelled, forgotten. Times are Unix seconds."""

from typing import Any, NamedTuple

import msgspec

from tandem.frontend.batches.objects import UNFINISHED, Batch, FileObject
from tandem.frontend.batches.tables import NOT_OVER, Tables, insert_file, save


class Usage(NamedTuple):
    """What is kept."""

    files: int
    bytes: int


class Catalogue(Tables):
    """What belongs to whom."""

    def add_file(self, owner: str, file: FileObject) -> None:
        """Its content is on disk already."""
        with self.writing() as db:
            insert_file(db, owner, file)

    def file(self, owner: str | None, file_id: str) -> FileObject | None:
        """A file of `owner`; of anybody for None."""
        found: FileObject | None = _object(self.one("files", owner, file_id), FileObject)
        return found

    def files(
        self, owner: str, *, purpose: str | None, after: str | None, limit: int, newest_first: bool
    ) -> list[FileObject] | None:
        """A page of them; None if there is no file `after`."""
        where, values = "", []
        if purpose is not None:
            where, values = " AND purpose = ?", [purpose]
        return self.page("files", FileObject, owner, after, limit, newest_first, where, values)

    def remove_file(self, owner: str, file_id: str) -> bool | None:
        """Forget a file. None: there is none; False: a batch still reads it."""
        with self.writing() as db:
            if self.one("files", owner, file_id) is None:
                return None
            query = f"SELECT 1 FROM batches WHERE input_file_id = ? AND {NOT_OVER}"
            if db.execute(query, (file_id, *UNFINISHED)).fetchone():
                return False
            db.execute("DELETE FROM files WHERE id = ?", (file_id,))
            return True

    def usage(self) -> Usage:
        """Of everybody."""
        return Usage(*self._db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM files").fetchone())

    def expire_files(self, now: float) -> list[str]:
        """Forget the files whose time is over, unless a batch reads them; which they were."""
        with self.writing() as db:
            busy = f"SELECT input_file_id FROM batches WHERE {NOT_OVER}"
            query = f"SELECT id FROM files WHERE expires_at <= ? AND id NOT IN ({busy})"
            found = [str(row[0]) for row in db.execute(query, (now, *UNFINISHED))]
            db.executemany("DELETE FROM files WHERE id = ?", [(each,) for each in found])
            return found

    def file_ids(self) -> set[str]:
        """All of them."""
        return {str(row[0]) for row in self._db.execute("SELECT id FROM files")}

    def add_batch(self, owner: str, batch: Batch, output_kept_s: int | None) -> None:
        """A new one, for whoever takes it."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO batches (id, owner, status, input_file_id, output_kept_s, object) VALUES (?,?,?,?,?,?)",
                (batch.id, owner, batch.status, batch.input_file_id, output_kept_s, msgspec.json.encode(batch)),
            )

    def batch(self, owner: str | None, batch_id: str) -> Batch | None:
        """A batch of `owner`; of anybody for None."""
        found: Batch | None = _object(self.one("batches", owner, batch_id), Batch)
        return found

    def batches(self, owner: str, *, after: str | None, limit: int) -> list[Batch] | None:
        """A page of them, newest first; None if there is no batch `after`."""
        return self.page("batches", Batch, owner, after, limit, True)

    def unfinished(self, owner: str) -> int:
        """How many of `owner`'s batches are not over."""
        query = f"SELECT count(*) FROM batches WHERE owner = ? AND {NOT_OVER}"
        return int(self._db.execute(query, (owner, *UNFINISHED)).fetchone()[0])

    def cancel(self, owner: str, batch_id: str, now: float) -> Batch | None:
        """Let a batch end soon. One that is over already stays as it is. None: there is none."""
        with self.writing() as db:
            batch = self.batch(owner, batch_id)
            if batch is not None and batch.status in ("validating", "in_progress"):
                batch.status, batch.cancelling_at = "cancelling", int(now)
                save(db, batch)
            return batch


def _object(row: Any, kind: Any) -> Any:
    return None if row is None else msgspec.json.decode(row[0], type=kind)
