"""What is known of files and batches, in one SQLite file that any number of processes share.

Whoever works on a batch holds it until `lease_until`; every write for it names the holder, and is refused once
somebody else holds it (`LeaseLapsed`). With the rollback journal, file locks are all that is asked of the file
system: a shared volume does, where a write-ahead log would not.

Blocks: call it from one thread. Times are Unix seconds.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from tandem.frontend.batches.lines import Line
from tandem.frontend.batches.objects import UNFINISHED, Batch, BatchFault, BatchFaults, FileObject, State
from tandem.frontend.batches.rules import MOST_LOSSES, may_work_on

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, owner TEXT NOT NULL, purpose TEXT NOT NULL,
    bytes INTEGER NOT NULL, expires_at INTEGER, object BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS batches (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, owner TEXT NOT NULL, status TEXT NOT NULL,
    input_file_id TEXT NOT NULL, output_kept_s INTEGER, holder TEXT, lease_until REAL NOT NULL DEFAULT 0,
    object BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS batches_by_status ON batches (status);
CREATE TABLE IF NOT EXISTS lines (
    batch TEXT NOT NULL, number INTEGER NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL,
    custom_id TEXT NOT NULL, runner TEXT, losses INTEGER NOT NULL DEFAULT 0, outcome TEXT, answer BLOB,
    PRIMARY KEY (batch, number)) WITHOUT ROWID;
"""
_BUSY_S: Final = 10.0
_PLACES: Final = ", ".join("?" * len(UNFINISHED))


class LeaseLapsed(Exception):
    """Another process works on this batch now."""


Outcome = Literal["completed", "failed", "expired"]


class Answer(NamedTuple):
    """A line of the output."""

    number: int
    outcome: Outcome
    text: bytes


class Step(NamedTuple):
    """What to do next for a batch."""

    batch: Batch
    lines: list[Line]
    """Lines to run now: nobody else runs them."""
    open_lines: int
    """Lines without an answer, those included."""


class Claimed(NamedTuple):
    """A batch that we work on from now on."""

    batch: Batch
    owner: str
    output_kept_s: int | None
    lost: list[Line]
    """Lines that too many processes died over."""


class Usage(NamedTuple):
    """What is kept."""

    files: int
    bytes: int


class Ledger:
    """The SQLite file."""

    def __init__(self, path: Path) -> None:
        """Opens or makes it. Raises `sqlite3.Error` or `OSError`."""
        self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._db.executescript(f"PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; {_SCHEMA}")

    def close(self) -> None:
        """Safe to repeat."""
        self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # ── files ────────────────────────────────────────────────────────────────────────────────────

    def add_file(self, owner: str, file: FileObject) -> None:
        """Its content is on disk already."""
        with self._writing() as db:
            _insert_file(db, owner, file)

    def file(self, owner: str | None, file_id: str) -> FileObject | None:
        """A file of `owner`; of anybody for None."""
        found: FileObject | None = _object(self._one("files", owner, file_id), FileObject)
        return found

    def files(
        self, owner: str, *, purpose: str | None, after: str | None, limit: int, newest_first: bool
    ) -> list[FileObject] | None:
        """A page of them; None if there is no file `after`."""
        where, values = "", []
        if purpose is not None:
            where, values = " AND purpose = ?", [purpose]
        return self._page("files", FileObject, owner, after, limit, newest_first, where, values)

    def remove_file(self, owner: str, file_id: str) -> bool | None:
        """Forget a file. None: there is none; False: a batch still reads it."""
        with self._writing() as db:
            if self._one("files", owner, file_id) is None:
                return None
            query = f"SELECT 1 FROM batches WHERE input_file_id = ? AND status IN ({_PLACES})"
            if db.execute(query, (file_id, *UNFINISHED)).fetchone():
                return False
            db.execute("DELETE FROM files WHERE id = ?", (file_id,))
            return True

    def usage(self) -> Usage:
        """Of everybody."""
        return Usage(*self._db.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM files").fetchone())

    def expire_files(self, now: float) -> list[str]:
        """Forget the files whose time is over, unless a batch reads them; which they were."""
        with self._writing() as db:
            busy = f"SELECT input_file_id FROM batches WHERE status IN ({_PLACES})"
            query = f"SELECT id FROM files WHERE expires_at <= ? AND id NOT IN ({busy})"
            found = [str(row[0]) for row in db.execute(query, (now, *UNFINISHED))]
            db.executemany("DELETE FROM files WHERE id = ?", [(each,) for each in found])
            return found

    def file_ids(self) -> set[str]:
        """All of them."""
        return {str(row[0]) for row in self._db.execute("SELECT id FROM files")}

    # ── batches, as clients see them ─────────────────────────────────────────────────────────────

    def add_batch(self, owner: str, batch: Batch, output_kept_s: int | None) -> None:
        """A new one, for whoever takes it."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO batches (id, owner, status, input_file_id, output_kept_s, object) VALUES (?,?,?,?,?,?)",
                (batch.id, owner, batch.status, batch.input_file_id, output_kept_s, msgspec.json.encode(batch)),
            )

    def batch(self, owner: str | None, batch_id: str) -> Batch | None:
        """A batch of `owner`; of anybody for None."""
        found: Batch | None = _object(self._one("batches", owner, batch_id), Batch)
        return found

    def batches(self, owner: str, *, after: str | None, limit: int) -> list[Batch] | None:
        """A page of them, newest first; None if there is no batch `after`."""
        return self._page("batches", Batch, owner, after, limit, True)

    def unfinished(self, owner: str) -> int:
        """How many of `owner`'s batches are not over."""
        query = f"SELECT count(*) FROM batches WHERE owner = ? AND status IN ({_PLACES})"
        return int(self._db.execute(query, (owner, *UNFINISHED)).fetchone()[0])

    def cancel(self, owner: str, batch_id: str, now: float) -> Batch | None:
        """Let a batch end soon. One that is over already stays as it is. None: there is none."""
        with self._writing() as db:
            batch = self.batch(owner, batch_id)
            if batch is not None and batch.status in ("validating", "in_progress"):
                batch.status, batch.cancelling_at = "cancelling", int(now)
                _save(db, batch)
            return batch

    # ── batches, for who works on them ───────────────────────────────────────────────────────────

    def claim(self, holder: str, served: Set[str], *, now: float, lease_s: float) -> Claimed | None:
        """The oldest batch that nobody holds and that this process can go on with."""
        with self._writing() as db:
            query = (
                f"SELECT object, owner, output_kept_s FROM batches WHERE status IN ({_PLACES}) "
                "AND lease_until <= ? ORDER BY number"
            )
            for data, owner, kept_s in db.execute(query, (*UNFINISHED, now)).fetchall():
                batch = msgspec.json.decode(data, type=Batch)
                if not may_work_on(batch.status, batch.model, served) and batch.expires_at > now:
                    continue
                db.execute(
                    "UPDATE batches SET holder = ?, lease_until = ? WHERE id = ?", (holder, now + lease_s, batch.id)
                )
                # Whoever ran these did not say that it stops: it died, or was silent for longer than its lease.
                db.execute(
                    "UPDATE lines SET losses = losses + 1, runner = NULL "
                    "WHERE batch = ? AND answer IS NULL AND runner <> ?",
                    (batch.id, holder),
                )
                lost = db.execute(
                    "SELECT number, start, size, custom_id FROM lines "
                    "WHERE batch = ? AND answer IS NULL AND losses >= ?",
                    (batch.id, MOST_LOSSES),
                )
                return Claimed(batch, str(owner), kept_s, [Line(*row) for row in lost])
            return None

    def renew(self, holder: str, batch_id: str, *, now: float, lease_s: float) -> None:
        """Hold a batch for longer."""
        with self._writing() as db:
            self._held(holder, batch_id)
            db.execute("UPDATE batches SET lease_until = ? WHERE id = ?", (now + lease_s, batch_id))

    def begin(self, holder: str, batch_id: str, model: str, lines: Sequence[Line], now: float) -> Batch:
        """The input was read and is right. A batch that was cancelled meanwhile only gets its lines."""
        with self._writing() as db:
            batch = self._held(holder, batch_id)
            db.executemany(
                "INSERT OR IGNORE INTO lines (batch, number, start, size, custom_id) VALUES (?, ?, ?, ?, ?)",
                [(batch_id, *line) for line in lines],
            )
            batch.model, batch.request_counts.total = model, len(lines)
            if batch.status == "validating":
                batch.status, batch.in_progress_at = "in_progress", int(now)
            _save(db, batch)
            return batch

    def fail(self, holder: str, batch_id: str, faults: list[BatchFault], now: float) -> None:
        """The input cannot be run."""
        with self._writing() as db:
            batch = self._held(holder, batch_id)
            batch.status, batch.failed_at, batch.errors = "failed", int(now), BatchFaults(data=faults)
            _save(db, batch)

    def step(
        self,
        holder: str,
        batch_id: str,
        answers: Iterable[Answer],
        *,
        want: int,
        running: Set[int],
        now: float,
    ) -> Step:
        """Write down answers, and get up to `want` more lines, marked as being run.

        Raises `LeaseLapsed`, and then nothing was written.
        """
        with self._writing() as db:
            batch = self._held(holder, batch_id)
            for answer in answers:
                written = db.execute(
                    "UPDATE lines SET answer = ?, outcome = ? WHERE batch = ? AND number = ? AND answer IS NULL",
                    (answer.text, answer.outcome, batch_id, answer.number),
                )
                if written.rowcount and answer.outcome == "completed":
                    batch.request_counts.completed += 1
                elif written.rowcount:
                    batch.request_counts.failed += 1
            _save(db, batch)
            lines: list[Line] = []
            if want > 0 and batch.status == "in_progress" and now < batch.expires_at:
                rows = db.execute(
                    "SELECT number, start, size, custom_id FROM lines WHERE batch = ? AND answer IS NULL "
                    "ORDER BY number LIMIT ?",
                    (batch_id, want + len(running)),
                )
                lines = [Line(*row) for row in rows if row[0] not in running][:want]
                db.executemany(
                    "UPDATE lines SET runner = ? WHERE batch = ? AND number = ?",
                    [(holder, batch_id, line.number) for line in lines],
                )
            counts = batch.request_counts
            return Step(batch, lines, counts.total - counts.completed - counts.failed)

    def unanswered(self, batch_id: str) -> list[Line]:
        """Lines without an answer."""
        query = "SELECT number, start, size, custom_id FROM lines WHERE batch = ? AND answer IS NULL ORDER BY number"
        return [Line(*row) for row in self._db.execute(query, (batch_id,))]

    def answers(self, batch_id: str, *, completed: bool) -> Iterator[bytes]:
        """Lines of the output or of the error file, in the input's order."""
        query = "SELECT answer FROM lines WHERE batch = ? AND (outcome = 'completed') = ? ORDER BY number"
        return (row[0] for row in self._db.execute(query, (batch_id, completed)))

    def finalize(self, holder: str, batch_id: str, now: float) -> tuple[Batch, State]:
        """Every line has its answer: the files are being written. The second is how the batch ends."""
        with self._writing() as db:
            batch = self._held(holder, batch_id)
            if batch.finalizing_at is None:
                batch.finalizing_at = int(now)
            if batch.status == "in_progress":
                batch.status = "finalizing"
            _save(db, batch)
            expired = db.execute("SELECT 1 FROM lines WHERE batch = ? AND outcome = 'expired' LIMIT 1", (batch_id,))
            if batch.status == "cancelling":
                return batch, "cancelled"
            return batch, "expired" if expired.fetchone() else "completed"

    def finish(self, holder: str, batch_id: str, status: State, files: Sequence[FileObject], now: float) -> None:
        """The files are on disk: the batch is over, and its lines are forgotten."""
        with self._writing() as db:
            batch = self._held(holder, batch_id)
            owner = db.execute("SELECT owner FROM batches WHERE id = ?", (batch_id,)).fetchone()[0]
            for file in files:
                _insert_file(db, owner, file)
            batch.status = status
            match status:
                case "completed":
                    batch.completed_at = int(now)
                case "expired":
                    batch.expired_at = int(now)
                case _:
                    batch.cancelled_at = int(now)
            for file in files:
                if file.filename.endswith("_error.jsonl"):
                    batch.error_file_id = file.id
                else:
                    batch.output_file_id = file.id
            _save(db, batch)
            db.execute("DELETE FROM lines WHERE batch = ?", (batch_id,))

    def release(self, holder: str) -> None:
        """Let others take the batches that we hold. Lines that we ran and did not end are as if never begun."""
        with self._writing() as db:
            held = "SELECT id FROM batches WHERE holder = ?"
            db.execute(f"UPDATE lines SET runner = NULL WHERE runner = ? AND batch IN ({held})", (holder, holder))
            db.execute("UPDATE batches SET holder = NULL, lease_until = 0 WHERE holder = ?", (holder,))

    # ── helpers ──────────────────────────────────────────────────────────────────────────────────

    def _held(self, holder: str, batch_id: str) -> Batch:
        row = self._db.execute("SELECT object, holder FROM batches WHERE id = ?", (batch_id,)).fetchone()
        if row is None or row[1] != holder:
            raise LeaseLapsed(batch_id)
        return msgspec.json.decode(row[0], type=Batch)

    def _one(self, table: str, owner: str | None, object_id: str) -> Any:
        query = f"SELECT object FROM {table} WHERE id = ? AND (owner = ? OR ? IS NULL)"
        return self._db.execute(query, (object_id, owner, owner)).fetchone()

    def _page(
        self,
        table: str,
        kind: Any,
        owner: str,
        after: str | None,
        limit: int,
        newest_first: bool,
        where: str = "",
        values: Sequence[Any] = (),
    ) -> list[Any] | None:
        if after is not None:
            row = self._db.execute(f"SELECT number FROM {table} WHERE id = ? AND owner = ?", (after, owner)).fetchone()
            if row is None:
                return None
            where, values = f"{where} AND number {'<' if newest_first else '>'} ?", [*values, row[0]]
        order = "DESC" if newest_first else "ASC"
        query = f"SELECT object FROM {table} WHERE owner = ?{where} ORDER BY number {order} LIMIT ?"
        return [msgspec.json.decode(row[0], type=kind) for row in self._db.execute(query, (owner, *values, limit))]


def _object(row: Any, kind: Any) -> Any:
    return None if row is None else msgspec.json.decode(row[0], type=kind)


def _save(db: sqlite3.Connection, batch: Batch) -> None:
    db.execute(
        "UPDATE batches SET status = ?, object = ? WHERE id = ?", (batch.status, msgspec.json.encode(batch), batch.id)
    )


def _insert_file(db: sqlite3.Connection, owner: str, file: FileObject) -> None:
    db.execute(
        "INSERT OR REPLACE INTO files (id, owner, purpose, bytes, expires_at, object) VALUES (?, ?, ?, ?, ?, ?)",
        (file.id, owner, file.purpose, file.bytes, file.expires_at, msgspec.json.encode(file)),
    )
