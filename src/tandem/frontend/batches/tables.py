"""The tables of files and batches, in one SQLite file that any number of processes share.

With the rollback journal, file locks are all that is asked of the file system: a shared volume does, where a
write-ahead log would not. Blocks: call it from one thread.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from tandem.frontend.batches.objects import UNFINISHED, Batch, FileObject

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
NOT_OVER: Final = f"status IN ({', '.join('?' * len(UNFINISHED))})"
"""A condition for batches; its values are `UNFINISHED`."""


class OtherTables(sqlite3.DatabaseError):
    """Another version of Tandem has made them."""


class Tables:
    """The SQLite file: open, in transactions, row by row."""

    def __init__(self, path: Path) -> None:
        """Opens or makes it. Raises `sqlite3.Error` or `OSError`."""
        self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            path.chmod(0o600)
            self._db.executescript(f"PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; {_SCHEMA}")
            _check(self._db, path)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Safe to repeat."""
        self._db.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that is written within, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield self._db
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def one(self, table: str, owner: str | None, object_id: str) -> Any:
        """The object of a row of `owner`; of anybody for None."""
        query = f"SELECT object FROM {table} WHERE id = ? AND (owner = ? OR ? IS NULL)"
        return self._db.execute(query, (object_id, owner, owner)).fetchone()

    def page(
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
        """Some of `owner`'s; None if there is none `after`."""
        if after is not None:
            row = self._db.execute(f"SELECT number FROM {table} WHERE id = ? AND owner = ?", (after, owner)).fetchone()
            if row is None:
                return None
            where, values = f"{where} AND number {'<' if newest_first else '>'} ?", [*values, row[0]]
        order = "DESC" if newest_first else "ASC"
        query = f"SELECT object FROM {table} WHERE owner = ?{where} ORDER BY number {order} LIMIT ?"
        return [msgspec.json.decode(row[0], type=kind) for row in self._db.execute(query, (owner, *values, limit))]


def save(db: sqlite3.Connection, batch: Batch) -> None:
    """Write down a batch that is there."""
    db.execute(
        "UPDATE batches SET status = ?, object = ? WHERE id = ?", (batch.status, msgspec.json.encode(batch), batch.id)
    )


def insert_file(db: sqlite3.Connection, owner: str, file: FileObject) -> None:
    """Write down a file, once or again."""
    db.execute(
        "INSERT OR REPLACE INTO files (id, owner, purpose, bytes, expires_at, object) VALUES (?, ?, ?, ?, ?, ?)",
        (file.id, owner, file.purpose, file.bytes, file.expires_at, msgspec.json.encode(file)),
    )


def _check(db: sqlite3.Connection, path: Path) -> None:
    """Raises `OtherTables` unless the file has the tables that we would have made."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_SCHEMA)
        for table in ("files", "batches", "lines"):
            has, needs = _columns(db, table), _columns(fresh, table)
            if has == needs:
                continue
            [name, *_] = sorted(has ^ needs)
            wrong = f"has no column {name!r}" if name in needs else f"has a column {name!r} that is not known"
            told = f"{path.name} was made by another version of Tandem: its table {table!r} {wrong}"
            raise OtherTables(f"{told}; move the folder away, or name another one in batch-folder")


def _columns(db: sqlite3.Connection, table: str) -> set[str]:
    return {str(row[1]) for row in db.execute(f"PRAGMA table_info({table})")}
