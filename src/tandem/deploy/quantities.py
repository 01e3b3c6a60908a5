"""Kubernetes quantities as numbers, as far as descriptions write them."""

import re
from typing import Final

_SCALES: Final = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4}
_SCALES_2: Final = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def size_bytes(text: str) -> int:
    """Bytes of `30Gi`."""
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)", text)
    assert found, text
    return int(float(found[1]) * (_SCALES | _SCALES_2)[found[2]])


def gigabytes(count: float) -> str:
    """As people compare it with a GPU's size: 65.5 GB."""
    return f"{count / 1e9:.1f} GB"
