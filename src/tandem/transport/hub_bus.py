"""The embedded bus as pure state: who listens to which subjects."""

from tandem.errors import ServingError

_CACHED_SUBJECTS = 4096


def check_subject(subject: str, *, pattern: bool) -> None:
    """Raise `ServingError` unless `subject` is words joined by dots (with `*` and a last `>` in a pattern)."""
    words = subject.split(".")
    for at, word in enumerate(words):
        wild = word == "*" or (word == ">" and at == len(words) - 1)
        plain = word and not any(letter.isspace() or letter in "*>" for letter in word)
        if not plain and not (pattern and wild):
            raise ServingError(f"{subject!r} is no subject")


def subject_matches(pattern: str, subject: str) -> bool:
    """Whether `pattern` covers `subject`: `*` is one word, a last `>` is one word or more."""
    wanted, words = pattern.split("."), subject.split(".")
    for at, want in enumerate(wanted):
        if want == ">":
            return len(words) > at
        if at >= len(words) or want not in ("*", words[at]):
            return False
    return len(words) == len(wanted)


class BusState:
    """Subscriptions by number."""

    def __init__(self) -> None:
        self._patterns: dict[int, str] = {}
        self._next = 1
        self._cache: dict[str, tuple[int, ...]] = {}

    def subscribe(self, pattern: str) -> int:
        """A new subscription."""
        check_subject(pattern, pattern=True)
        number = self._next
        self._next += 1
        self._patterns[number] = pattern
        self._cache.clear()
        return number

    def unsubscribe(self, number: int) -> None:
        """Forget a subscription. Safe to repeat."""
        if self._patterns.pop(number, None) is not None:
            self._cache.clear()

    def listeners(self, subject: str) -> tuple[int, ...]:
        """Subscriptions that a message on `subject` goes to."""
        if (found := self._cache.get(subject)) is not None:
            return found
        check_subject(subject, pattern=False)
        if len(self._cache) >= _CACHED_SUBJECTS:
            self._cache.clear()
        found = tuple(number for number, pattern in self._patterns.items() if subject_matches(pattern, subject))
        self._cache[subject] = found
        return found
