"""The page of behaviours names tests that exist, and no row twice."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rbg-behaviours.md").read_text()


def test_every_test_that_the_page_names_exists() -> None:
    known: set[str] = set()
    for folder in ("operator", "kube"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            known |= set(re.findall(r"def (test_\w+)", path.read_text()))
    assert set(re.findall(r"`(test_\w+)`", PAGE)) - known == set()


def test_no_row_stands_twice() -> None:
    rows = re.findall(r"^\| (B-[^|]+) \|", PAGE, re.MULTILINE)
    assert len(rows) == len(set(rows)) > 80
