"""Text to tokens, word by word from a table, for tokenizers and texts where that is exactly what the tokenizer does.

Byte-level BPE (Qwen, Llama 3, DeepSeek, GPT, …) cuts a text into words by a pattern and encodes each word by
itself, so a word needs encoding only once. A prompt of common words then costs a few table look-ups instead of
half a millisecond. What stands between two special tokens (a message, mostly) is kept as well: each request of a
conversation repeats the ones before it. The tokenizer itself does everything else: other pipelines, text beyond
ASCII (where the meaning of the pattern depends on tables of Unicode), and every word that is not in the table yet.

tests/processor/test_encoding.py compares with the tokenizer itself.
"""

import logging
import re
from collections.abc import Callable
from itertools import chain
from typing import Any, Final

import msgspec
from tokenizers import Tokenizer

from tandem.processor.patterns import ascii_pattern, parts_at_spaces

_log = logging.getLogger(__name__)

_WORDS: Final = 65_536
"""Words that are kept in each table; then it begins anew. About 15 MB."""
_LONGEST: Final = 64
"""Characters of a word that is kept."""
_TEXT_CHARS: Final = 4_000_000
"""Characters of whole texts that are kept; then they are forgotten. About 20 MB with their tokens."""
_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What `ByteLevel` cuts by when it is told to cut."""
_SAMPLE: Final = (
    "Hello, world!  It's 2024-05-17;\tI'd  say\n\n\r\n \n  \"naïve\" x=1_000; {a: [b, c]}<|x|> don't THEY'LL  go?\n"
    "def f(self, *args):\n    return {k: v for k, v in args}  # 100%\n\n\n   \t end   "
)


class _Added(msgspec.Struct, frozen=True):
    id: int
    content: str
    special: bool = False
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = False


class _File(msgspec.Struct, frozen=True):
    """What of tokenizer.json says how text becomes tokens."""

    model: dict[str, Any]
    added_tokens: list[_Added] = []
    normalizer: dict[str, Any] | None = None
    pre_tokenizer: dict[str, Any] | None = None
    truncation: dict[str, Any] | None = None
    padding: dict[str, Any] | None = None


class WordEncoder:
    """Encodes ASCII texts as the tokenizer would, without its template of special tokens."""

    def __init__(self, tokenizer: Tokenizer, pattern: re.Pattern[str], added: dict[str, int]) -> None:
        self._words = pattern.findall
        self._table = _Table(tokenizer)
        self._spaced = _Spaced(self._tokens) if parts_at_spaces(pattern.pattern) else None
        self._texts: dict[str, list[int]] = {}
        """Texts between special tokens, and their tokens."""
        self._kept_chars = 0
        self._added = added
        longest_first = sorted(added, key=len, reverse=True)
        self._split = re.compile(f"({'|'.join(map(re.escape, longest_first))})").split if added else None

    def encode(self, text: str) -> list[int] | None:
        """The tokens, or None for a text that the tokenizer itself must see."""
        if not text.isascii():
            return None
        ids: list[int] = []
        self._table.trim()
        for turn, part in enumerate(self._split(text) if self._split else (text,)):
            if turn % 2:
                ids.append(self._added[part])
            elif part:
                found = self._texts.get(part) or self._encoded(part)
                if found is None:
                    return None
                ids += found
        return ids

    def _encoded(self, part: str) -> list[int] | None:
        found = None if self._spaced is None else self._spaced.encode(part)
        if found is None and (found := self._tokens(part)) is None:
            return None
        if self._kept_chars > _TEXT_CHARS:
            self._texts.clear()
            self._kept_chars = 0
        if len(part) * 16 <= _TEXT_CHARS:
            self._texts[part] = found
            self._kept_chars += len(part)
        return found

    def _tokens(self, part: str) -> list[int] | None:
        words = self._words(part)
        if len("".join(words)) != len(part):  # what lies between words would be words too
            return None
        return list(chain.from_iterable(map(self._table.__getitem__, words)))


class _Spaced(dict[str, list[int]]):
    """What stands between two spaces → the tokens of it and the space before it, filled as texts come.

    Splitting at spaces takes a fraction of finding words. See `patterns.parts_at_spaces`.

    Args:
        tokens: of any text.
    """

    def __init__(self, tokens: Callable[[str], list[int] | None]) -> None:
        super().__init__()
        self._tokens = tokens

    def encode(self, text: str) -> list[int] | None:
        """The tokens; None for a text with other whitespace around a space."""
        begin, *others = text.split(" ")
        if begin and others and begin[-1].isspace():
            return None
        if len(self) > _WORDS:
            self.clear()
        try:
            tail = list(chain.from_iterable(map(self.__getitem__, others)))
        except KeyError:
            return None
        if not begin:
            return tail
        head = self._tokens(begin)
        return None if head is None else head + tail

    def __missing__(self, part: str) -> list[int]:
        if not part or part[0].isspace() or part[-1].isspace():
            raise KeyError
        found = self._tokens(" " + part)
        if found is None:
            raise KeyError
        if len(part) < _LONGEST:
            self[part] = found
        return found


class _Table(dict[str, tuple[int, ...]]):
    """Word → its tokens, filled as words come."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self._tokenize = tokenizer.model.tokenize

    def trim(self) -> None:
        if len(self) > _WORDS:
            self.clear()

    def __missing__(self, word: str) -> tuple[int, ...]:
        spelt = "".join(map(_SPELT.__getitem__, word))
        found = tuple(token.id for token in self._tokenize(spelt))
        if len(word) <= _LONGEST:
            self[word] = found
        return found


def word_encoder(raw: bytes, tokenizer: Tokenizer) -> WordEncoder | None:
    """An encoder for the tokenizer of this tokenizer.json; None where words cannot be encoded one by one."""
    form = msgspec.json.decode(raw, type=_File)
    pattern = _pattern_of(form)
    if pattern is None or any(token.single_word or token.lstrip or token.rstrip for token in form.added_tokens):
        return None
    if len({token.normalized for token in form.added_tokens}) > 1:
        return None  # those are looked for in two turns
    encoder = WordEncoder(tokenizer, pattern, {token.content: token.id for token in form.added_tokens})
    for text in (_SAMPLE, _SAMPLE.encode("ascii", "ignore").decode(), "".join(map(chr, range(128))) * 2):
        found = encoder.encode(text)
        if found is not None and found != tokenizer.encode(text, add_special_tokens=False).ids:
            _log.warning("processor.words_differ: this tokenizer is used without the table of words")
            return None
    return encoder


def _pattern_of(form: _File) -> re.Pattern[str] | None:
    model = form.model
    if form.truncation is not None or form.padding is not None:
        return None
    if model.get("type", "BPE") != "BPE" or model.get("dropout") or model.get("byte_fallback"):
        return None
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix") or model.get("unk_token"):
        return None
    if form.normalizer is not None and form.normalizer.get("type") != "NFC":  # which leaves ASCII alone
        return None
    match form.pre_tokenizer:
        case {"type": "ByteLevel", "add_prefix_space": False, **rest} if rest.get("use_regex", True):
            source = _GPT2
        case {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": str(source)}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }:
            pass
        case _:
            return None
    translated = ascii_pattern(source)
    return None if translated is None else re.compile(translated, re.ASCII)


def _spelling() -> dict[str, str]:
    """ASCII as byte-level tokenizers write it: see `vocabulary`."""
    plain = {chr(byte): chr(byte) for byte in range(0x21, 0x7F)}
    others = [*range(0x21), 0x7F]
    return plain | {chr(byte): chr(0x100 + i) for i, byte in enumerate(others)}


_SPELT: Final = _spelling()
