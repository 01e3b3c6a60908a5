"""Patterns that tokenizers cut text into words by, as Python reads them, for ASCII text.

ascii_pattern   from the tokenizer's form of regular expressions (Oniguruma) to Python's
parts_at_spaces whether a text may be cut at its spaces beforehand
"""

import re
import string
from typing import Final

_ASCII: Final = {
    "L": "A-Za-z", "Lu": "A-Z", "Ll": "a-z", "Lt": "", "Lm": "", "Lo": "",
    "M": "", "Mn": "", "Mc": "", "Me": "", "N": "0-9", "Nd": "0-9", "Nl": "", "No": "",
    "P": r"!-#%-*,-/:;?@\[-\]_{}", "S": r"$+<->\^`|~", "Z": " ", "Zs": " ", "Han": "",
}  # fmt: skip
"""What a property of Unicode means among ASCII characters, as the inside of a character class."""
_TOKEN: Final = re.compile(r"\\p\{\^?(\w+)\}|\\[\s\S]|\[\^?|\]|\(\?[a-zA-Z]+:|\(\?[=!:]|\(\?|[\s\S]")
_ESCAPES: Final = frozenset("srntfSd" + "\\.[](){}|*+?-/^$'\"!#&,:;<=>@_`~% ")
_ATOM: Final = re.compile(r"\[\^?(?:\\[\s\S]|[^\]\\])*\]|\\[\s\S]|\(\?[a-z]*:|\(\?[=!]|\{[\d,]+\}|[\s\S]")
_INK: Final = string.digits + string.ascii_letters + string.punctuation


def ascii_pattern(source: str) -> str | None:
    """An Oniguruma pattern as Python reads it, for ASCII text; None where the two might not mean the same."""
    if re.search(r"\{[\d,]+\}\+", source):
        return None  # possessive here, repeated there
    out: list[str] = []
    inside: list[str] | None = None
    """The character class that is open: how it begins, then what is in it."""
    for found in _TOKEN.finditer(source):
        part = found[0]
        if found[1] is not None:
            content = _ASCII.get(found[1])
            if content is None or "^" in part:
                return None
            if inside is not None:
                inside.append(content)
            else:
                out.append(f"[{content}]" if content else "(?!)")
        elif part.startswith("\\") and part[1:] not in _ESCAPES:
            return None
        elif inside is not None:
            if part == "]" and len(inside) > 1:
                content = "".join(inside[1:])
                negated = inside[0] == "[^"
                out.append(f"{inside[0]}{content}]" if content else r"[\s\S]" if negated else "(?!)")
                inside = None
            elif part.startswith("[") or part == "]" or (part == "&" and inside[-1] == "&"):
                return None  # classes in classes, and their intersections
            else:
                inside.append(part)
        elif part in ("[", "[^"):
            inside = [part]
        elif part in ("^", "$", "(", "(?") or (part.startswith("(?") and part not in ("(?:", "(?=", "(?!", "(?i:")):
            return None  # anchors mean lines there; groups would change what is found here
        else:
            out.append(part)
    translated = "".join(out).replace("(?!)|", "")
    try:
        return None if inside is not None or re.compile(translated, re.ASCII).groups else translated
    except re.error:
        return None


def parts_at_spaces(pattern: str) -> bool:
    """Whether a text may be cut before a lone space between two visible characters, and its words stay the same.

    Args:
        pattern: as `ascii_pattern` gives it.

    It may where no word has a space behind a visible character, and where nothing but whitespace looks ahead: then a
    word begins at every such space, and what follows it has no say in the words before.
    """
    depth, ink, ahead, atoms = 0, False, False, _ATOM.findall(pattern)
    for atom, following in zip(atoms, [*atoms[1:], ""], strict=True):
        repeats = following in ("*", "+") or following.startswith("{")
        if atom == "|" and not depth:
            ink = ahead = False
        elif atom.startswith("(?"):
            depth += 1
            ahead = ahead or atom in ("(?=", "(?!")
        elif atom == ")":
            if repeats:
                return False  # its end may stand before its beginning
            depth -= 1
        elif atom not in ("|", "?", "*", "+") and not atom.startswith("{"):
            one = re.compile(atom, re.ASCII | re.IGNORECASE)
            inks, spaces = any(map(one.fullmatch, _INK)), one.fullmatch(" ") is not None
            if spaces and (ink or (inks and repeats)):
                return False
            ink = ink or (inks and not ahead)
        if ink and ahead:
            return False
    return not depth
