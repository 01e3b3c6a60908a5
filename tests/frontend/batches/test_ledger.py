"""Several processes, one ledger: who holds a batch, and that each line is answered once."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.frontend.batches.ledger import Answer, LeaseLapsed, Ledger
from tandem.frontend.batches.lines import Line
from tandem.frontend.batches.objects import Batch, FileObject
from tandem.frontend.batches.tables import OtherTables

LINES = [Line(i, i * 10, 10, f"line-{i}") for i in range(1, 5)]


class Two:
    """Two processes with the same file, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.a, self.b = Ledger(folder / "ledger"), Ledger(folder / "ledger")
        self.now = 1000.0

    def claim(self, ledger: Ledger, holder: str, served: str = "tiny") -> str | None:
        found = ledger.claim(holder, {served}, now=self.now, lease_s=60)
        return found and found.batch.id

    def step(
        self, ledger: Ledger, holder: str, *answers: Answer, want: int = 0, running: tuple[int, ...] = ()
    ) -> list[int]:
        step = ledger.step(holder, "b1", answers, want=want, running=set(running), now=self.now)
        return [line.number for line in step.lines]


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    made = Two(tmp_path)
    made.a.add_file("me", a_file("f1"))
    made.a.add_batch("me", a_batch("b1"), None)
    yield made
    made.a.close()
    made.b.close()


def a_file(file_id: str, *, expires_at: int | None = None) -> FileObject:
    return FileObject(id=file_id, bytes=40, created_at=1000, expires_at=expires_at, filename="x", purpose="batch")


def a_batch(batch_id: str) -> Batch:
    return Batch(id=batch_id, endpoint="/v1/completions", input_file_id="f1", created_at=1000, expires_at=9000)


def an_answer(number: int, text: bytes = b"said\n") -> Answer:
    return Answer(number, "completed", text)


def begun(two: Two) -> None:
    assert two.claim(two.a, "A") == "b1"
    two.a.begin("A", "b1", "tiny", LINES, two.now)


def test_one_process_holds_a_batch_until_its_lease_is_over(two: Two) -> None:
    begun(two)
    assert two.claim(two.b, "B") is None
    two.now += 50
    assert two.step(two.a, "A", want=2) == [1, 2]
    two.a.renew("A", "b1", now=two.now, lease_s=60)
    two.now += 50
    assert two.claim(two.b, "B") is None
    two.now += 11
    assert two.claim(two.b, "B") == "b1"
    with pytest.raises(LeaseLapsed):
        two.step(two.a, "A", an_answer(1, b"late\n"))
    with pytest.raises(LeaseLapsed):
        two.a.renew("A", "b1", now=two.now, lease_s=60)
    with pytest.raises(LeaseLapsed):
        two.a.finalize("A", "b1", two.now)
    assert two.step(two.b, "B", want=1) == [1]
    two.step(two.b, "B", an_answer(1, b"said by B\n"))
    assert list(two.a.answers("b1", completed=True)) == [b"said by B\n"]


def test_lines_that_run_are_not_given_out_twice(two: Two) -> None:
    begun(two)
    assert two.step(two.a, "A", want=2) == [1, 2]
    assert two.step(two.a, "A", want=2, running=(1, 2)) == [3, 4]
    assert two.step(two.a, "A", an_answer(2), want=5, running=(1, 3, 4)) == []


def test_a_line_is_answered_once(two: Two) -> None:
    begun(two)
    two.step(two.a, "A", an_answer(1), an_answer(1, b"again\n"), Answer(2, "failed", b"no\n"))
    two.step(two.a, "A", an_answer(1, b"and again\n"), an_answer(2))
    assert list(two.b.answers("b1", completed=True)) == [b"said\n"]
    assert list(two.b.answers("b1", completed=False)) == [b"no\n"]
    batch = two.b.batch("me", "b1")
    assert batch is not None
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (4, 1, 1)


def test_a_line_whose_process_dies_runs_once_more_and_not_again(two: Two) -> None:
    begun(two)
    assert two.step(two.a, "A", want=1) == [1]
    two.now += 61
    again = two.b.claim("B", {"tiny"}, now=two.now, lease_s=60)
    assert again is not None
    assert again.lost == []
    assert two.step(two.b, "B", want=1) == [1]
    two.now += 61
    last = two.a.claim("A2", {"tiny"}, now=two.now, lease_s=60)
    assert last is not None
    assert [line.number for line in last.lost] == [1]


def test_a_process_that_lost_its_lease_and_takes_it_again_has_not_died(two: Two) -> None:
    begun(two)
    for _ in range(5):
        assert two.step(two.a, "A", want=1) == [1]
        two.now += 61
        again = two.a.claim("A", {"tiny"}, now=two.now, lease_s=60)
        assert again is not None
        assert again.lost == []


def test_processes_that_stop_in_an_orderly_way_lose_no_lines(two: Two) -> None:
    begun(two)
    for _ in range(5):
        assert two.step(two.a, "A", want=1) == [1]
        two.a.release("A")
        again = two.a.claim("A", {"tiny"}, now=two.now, lease_s=60)
        assert again is not None
        assert again.lost == []
        two.a.release("A")
        last = two.b.claim("B", {"tiny"}, now=two.now, lease_s=60)
        assert last is not None
        assert last.lost == []
        two.b.release("B")
        assert two.claim(two.a, "A") == "b1"


def test_a_released_batch_is_free_at_once(two: Two) -> None:
    begun(two)
    two.a.release("A")
    assert two.claim(two.b, "B") == "b1"


def test_a_batch_waits_for_whoever_serves_its_model_unless_it_must_end(two: Two) -> None:
    begun(two)
    two.a.release("A")
    assert two.claim(two.b, "B", "another") is None
    two.b.cancel("me", "b1", two.now)
    assert two.claim(two.b, "B", "another") == "b1"
    two.b.release("B")
    two.a.add_batch("me", a_batch("b2"), None)
    assert two.claim(two.a, "A") == "b1"
    assert two.claim(two.a, "A") == "b2"
    two.a.begin("A", "b2", "tiny", LINES, two.now)
    two.a.release("A")
    two.now = 9001
    assert two.claim(two.b, "B", "another") == "b1"
    assert two.claim(two.b, "B", "another") == "b2"


def test_a_cancelled_batch_gives_out_no_lines_and_a_finished_one_stays(two: Two) -> None:
    begun(two)
    cancelled = two.b.cancel("me", "b1", two.now)
    assert cancelled is not None
    assert cancelled.status == "cancelling"
    assert two.step(two.a, "A", want=4) == []
    assert two.a.finalize("A", "b1", two.now)[1] == "cancelled"
    two.a.finish("A", "b1", "cancelled", [], two.now)
    again = two.b.cancel("me", "b1", two.now)
    assert again is not None
    assert again.status == "cancelled"
    assert two.claim(two.b, "B") is None


def test_everybody_sees_his_own(two: Two) -> None:
    assert two.a.file("you", "f1") is None
    assert two.a.batch("you", "b1") is None
    assert two.a.cancel("you", "b1", 0) is None
    assert two.a.remove_file("you", "f1") is None
    assert two.a.files("you", purpose=None, after=None, limit=9, newest_first=True) == []
    assert two.a.batches("you", after="b1", limit=9) is None
    assert [file.id for file in two.a.files("me", purpose="batch", after=None, limit=9, newest_first=True) or ()] == [
        "f1"
    ]
    assert two.a.files("me", purpose="batch_output", after=None, limit=9, newest_first=True) == []


def test_a_file_that_a_batch_reads_stays(two: Two) -> None:
    two.a.add_file("me", a_file("f2", expires_at=2000))
    assert two.a.remove_file("me", "f1") is False
    assert two.a.expire_files(1999) == []
    assert two.a.expire_files(2000) == ["f2"]
    begun(two)
    two.a.fail("A", "b1", [], two.now)
    assert two.a.remove_file("me", "f1") is True
    assert two.a.usage() == (0, 0)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ("ALTER TABLE lines DROP COLUMN runner", "its table 'lines' has no column 'runner'"),
        ("ALTER TABLE batches ADD COLUMN colour TEXT", "its table 'batches' has a column 'colour' that is not known"),
    ],
)
def test_tables_of_another_version_are_told_of_and_left_alone(tmp_path: Path, change: str, wrong: str) -> None:
    Ledger(tmp_path / "ledger.sqlite").close()
    with sqlite3.connect(tmp_path / "ledger.sqlite") as db:
        db.execute(change)
    db.close()
    before = (tmp_path / "ledger.sqlite").read_bytes()
    with pytest.raises(OtherTables, match=wrong) as told:
        Ledger(tmp_path / "ledger.sqlite")
    assert "move the folder away, or name another one in batch-folder" in str(told.value)
    assert (tmp_path / "ledger.sqlite").read_bytes() == before
