"""The page of behaviours has every row of upstream's list once, each with tests that exist or a reason."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "rbg-behaviours.md").read_text()
ROWS = re.findall(r"^\| ([BD]\d*-?\d[^|]*) \|[^|]*\|([^|]*)\| (.*) \|$", PAGE, re.MULTILINE)
FAMILIES = [(1, 11), (20, 28), (30, 33), (40, 46), (50, 63), (70, 77), (80, 87), (90, 94), (100, 105), (110, 114)]
FAMILIES += [(120, 124), (130, 135), (140, 141), (150, 155), (160, 164), (170, 174), (180, 183), (190, 191)]
FAMILIES += [(200, 201), (210, 212)]
BEHAVIOURS = {f"B-{number:02}" for first, last in FAMILIES for number in range(first, last + 1)} | {"B-22b"}
DEFECTS = {f"D{number}" for number in range(1, 26)}


def test_every_test_that_the_page_names_exists() -> None:
    known: set[str] = set()
    for folder in ("operator", "kube"):
        for path in (ROOT / "tests" / folder).glob("test_*.py"):
            known |= set(re.findall(r"def (test_\w+)", path.read_text()))
    assert set(re.findall(r"`(test_\w+)`", PAGE)) - known == set()


def rows_of(cell: str) -> list[str]:
    """`B-60 to B-63`, `B-23, B-24` and `D4, D6` are several."""
    if " to " in cell:
        first, last = (int(part) for part in re.findall(r"B-(\d+)", cell))
        return [f"B-{number:02}" for number in range(first, last + 1)]
    return cell.split(", ")


def test_every_row_of_upstreams_list_is_here_once_with_a_test_or_a_reason() -> None:
    found = [name for cell, _, _ in ROWS for name in rows_of(cell)]
    assert len(found) == len(set(found))
    assert set(found) == BEHAVIOURS | DEFECTS
    assert not [cell for cell, ours, proof in ROWS if not ours.strip() or len(proof.strip()) < 10]
    assert not [cell for cell, _, proof in ROWS if "test_" not in proof and len(proof.split()) < 4]
