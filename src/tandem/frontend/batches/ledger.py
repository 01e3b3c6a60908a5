"""What is known of files and batches, and who works on which batch.

Whoever works on a batch holds it until `lease_until`; every write for it names the holder, and is refused once
somebody else holds it (`LeaseLapsed`). Times are Unix seconds.
"""

from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Literal, NamedTuple

import msgspec

from tandem.frontend.batches.catalogue import Catalogue
from tandem.frontend.batches.lines import Line
from tandem.frontend.batches.objects import UNFINISHED, Batch, BatchFault, BatchFaults, FileObject, State
from tandem.frontend.batches.rules import MOST_LOSSES, may_work_on
from tandem.frontend.batches.tables import NOT_OVER, insert_file, save


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


class Ledger(Catalogue):
    """The catalogue, and the work on what is in it."""

    def claim(self, holder: str, served: Set[str], *, now: float, lease_s: float) -> Claimed | None:
        """The oldest batch that nobody holds and that this process can go on with."""
        with self.writing() as db:
            query = (
                f"SELECT object, owner, output_kept_s FROM batches WHERE {NOT_OVER} "
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
        with self.writing() as db:
            self._held(holder, batch_id)
            db.execute("UPDATE batches SET lease_until = ? WHERE id = ?", (now + lease_s, batch_id))

    def begin(self, holder: str, batch_id: str, model: str, lines: Sequence[Line], now: float) -> Batch:
        """The input was read and is right. A batch that was cancelled meanwhile only gets its lines."""
        with self.writing() as db:
            batch = self._held(holder, batch_id)
            db.executemany(
                "INSERT OR IGNORE INTO lines (batch, number, start, size, custom_id) VALUES (?, ?, ?, ?, ?)",
                [(batch_id, *line) for line in lines],
            )
            batch.model, batch.request_counts.total = model, len(lines)
            if batch.status == "validating":
                batch.status, batch.in_progress_at = "in_progress", int(now)
            save(db, batch)
            return batch

    def fail(self, holder: str, batch_id: str, faults: list[BatchFault], now: float) -> None:
        """The input cannot be run."""
        with self.writing() as db:
            batch = self._held(holder, batch_id)
            batch.status, batch.failed_at, batch.errors = "failed", int(now), BatchFaults(data=faults)
            save(db, batch)

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
        with self.writing() as db:
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
            save(db, batch)
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
        with self.writing() as db:
            batch = self._held(holder, batch_id)
            if batch.finalizing_at is None:
                batch.finalizing_at = int(now)
            if batch.status == "in_progress":
                batch.status = "finalizing"
            save(db, batch)
            expired = db.execute("SELECT 1 FROM lines WHERE batch = ? AND outcome = 'expired' LIMIT 1", (batch_id,))
            if batch.status == "cancelling":
                return batch, "cancelled"
            return batch, "expired" if expired.fetchone() else "completed"

    def finish(self, holder: str, batch_id: str, status: State, files: Sequence[FileObject], now: float) -> None:
        """The files are on disk: the batch is over, and its lines are forgotten."""
        with self.writing() as db:
            batch = self._held(holder, batch_id)
            owner = db.execute("SELECT owner FROM batches WHERE id = ?", (batch_id,)).fetchone()[0]
            for file in files:
                insert_file(db, owner, file)
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
            save(db, batch)
            db.execute("DELETE FROM lines WHERE batch = ?", (batch_id,))

    def release(self, holder: str) -> None:
        """Let others take the batches that we hold. Lines that we ran and did not end are as if never begun."""
        with self.writing() as db:
            held = "SELECT id FROM batches WHERE holder = ?"
            db.execute(f"UPDATE lines SET runner = NULL WHERE runner = ? AND batch IN ({held})", (holder, holder))
            db.execute("UPDATE batches SET holder = NULL, lease_until = 0 WHERE holder = ?", (holder,))

    def _held(self, holder: str, batch_id: str) -> Batch:
        row = self._db.execute("SELECT object, holder FROM batches WHERE id = ?", (batch_id,)).fetchone()
        if row is None or row[1] != holder:
            raise LeaseLapsed(batch_id)
        return msgspec.json.decode(row[0], type=Batch)
