"""The table of words gives what the tokenizer gives, for every family of patterns; in doubt it gives nothing."""

import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tandem.processor.encoding import WordEncoder, word_encoder
from tandem.processor.model import TextModel
from tandem.processor.patterns import ascii_pattern, parts_at_spaces

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LETTERS_ONLY = r"\p{L}+"
PATTERNS = {"qwen2": QWEN2, "llama3": LLAMA3, "o200k": O200K, "gpt2": None}
CORPUS = [
    "The quick brown fox jumps over the lazy dog. It's 2024, they'll go, don't they?",
    "def main(args):\n    return {key: value for key, value in args.items()}\n\n\nif __name__ == '__main__':\n\tmain()",
    "HELLO WORLD 12345 67 8 !!! ??? ... <|user|> x=1; y = 2 // comment\r\n",
] * 3


def trained(pattern: str | None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
        special_tokens=["<|im_start|>", "<|im_end|>", "<|im|>", "<|im_start|>x"],
    )  # fmt: skip
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


FAMILIES = {name: trained(pattern) for name, pattern in PATTERNS.items()}


def itself(model: TextModel, text: str) -> list[int]:
    return model._tokenizer.encode(text, add_special_tokens=False).ids


def encoder_of(tokenizer: Tokenizer) -> WordEncoder | None:
    return word_encoder(tokenizer.to_str().encode(), tokenizer)


ENCODERS = {name: encoder_of(tokenizer) for name, tokenizer in FAMILIES.items()}
PIECES = st.sampled_from(
    [
        *(
            "don't",
            "THEY'LL",
            "a",
            "Bc",
            "123",
            "4",
            "<|im_start|>",
            "<|im_",
            "|>x",
            "!?",
            "_",
            "/",
            " end",
            "'s",
            "'S",
        ),
        *("  ", "\n", "\r\n", "\t", "\x00", "\x1c", "\x7f", "\x0b"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(PATTERNS)), st.lists(PIECES | st.text(st.characters(max_codepoint=127)), max_size=12))
def test_the_table_says_what_the_tokenizer_says(family: str, parts: list[str]) -> None:
    text, encoder = "".join(parts), ENCODERS[family]
    assert encoder is not None, family
    assert encoder.encode(text) == FAMILIES[family].encode(text, add_special_tokens=False).ids


@settings(deadline=None)
@given(st.text())
def test_a_model_encodes_any_text_as_its_tokenizer_does(text_model: TextModel, text: str) -> None:
    assert (
        text_model.encode(text, add_special_tokens=False)
        == text_model._tokenizer.encode(text, add_special_tokens=False).ids
    )


def test_text_beyond_ascii_is_left_to_the_tokenizer() -> None:
    encoder = ENCODERS["qwen2"]
    assert encoder is not None
    assert encoder.encode("naïve") is None
    assert encoder.encode("") == []


def test_a_pattern_that_leaves_gaps_leaves_those_texts_to_the_tokenizer() -> None:
    encoder = encoder_of(trained(LETTERS_ONLY))
    assert encoder is not None
    assert encoder.encode("abc") is not None
    assert encoder.encode("abc 1") is None


@pytest.mark.parametrize(
    "changed",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}},
        {"truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}},
        {"added_tokens": [{"id": 0, "content": "<|im_start|>", "single_word": False, "lstrip": True, "rstrip": False,
                           "normalized": False, "special": True}]},
    ],
)  # fmt: skip
def test_other_pipelines_are_left_to_the_tokenizer(changed: dict[str, object]) -> None:
    form = json.loads(FAMILIES["qwen2"].to_str()) | changed
    raw = json.dumps(form)
    assert word_encoder(raw.encode(), Tokenizer.from_str(raw)) is None


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"^a", r"a$", r"(a)", r"\Aa", r"\ha", r"[a&&b]", r"[[:alpha:]]"),
        *(r"\p{Greek}", r"\P{L}", r"a{2}+", r"(?<!a)b", r"(?i)a"),
    ],
)
def test_patterns_that_mean_something_else_here_are_not_translated(pattern: str) -> None:
    assert ascii_pattern(pattern) is None


@pytest.mark.parametrize("family", sorted(PATTERNS))
def test_the_families_of_patterns_part_at_spaces(family: str) -> None:
    encoder = ENCODERS[family]
    assert encoder is not None
    assert encoder._spaced is not None


@pytest.mark.parametrize(
    "pattern",
    [
        r"[a-z]+ [a-z]+",
        r"[^\n]+",
        r"a\s",
        r"[a-z]+(?= )|\s",
        r"[a-z](?!\S)",
        r"(?:a| b)(?:c| d)",
        r"[^x]*",
        r"[^x]{2}",
        r"(?: ?[a-z])+",
        r"(?: [a-z]){2}",
    ],
)
def test_a_pattern_whose_words_hold_spaces_or_look_at_them_does_not(pattern: str) -> None:
    assert not parts_at_spaces(pattern)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(sorted(PATTERNS)),
    st.lists(
        st.sampled_from(["", "don't", "'s", "A1", "x\ny", "\n", "!?", "a\t", "9", "(b)", "\x1f", "/c\r\n"]), max_size=9
    ),
)
def test_cutting_at_spaces_changes_no_token(family: str, parts: list[str]) -> None:
    encoder, text = ENCODERS[family], " ".join(parts)
    assert encoder is not None
    assert encoder.encode(text) == FAMILIES[family].encode(text, add_special_tokens=False).ids


def test_words_without_end_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.processor.encoding._WORDS", 100)
    encoder = encoder_of(FAMILIES["qwen2"])
    assert encoder is not None
    for number in range(50):
        encoder.encode(f"a{'b' * number} c{'d' * number} {'e' * 1000}")
    for table in (encoder._table, encoder._spaced):
        assert table is not None
        assert 0 < len(table) <= 110
        assert all(len(word) <= 64 for word in table)


def test_a_text_that_was_seen_is_encoded_alike_and_texts_without_end_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tandem.processor.encoding._TEXT_CHARS", 2000)
    tokenizer = FAMILIES["qwen2"]
    encoder = encoder_of(tokenizer)
    assert encoder is not None
    for number in range(100):
        for text in (f"a message of {number * 7} words<|im_end|>", "long " * 40 + "<|im_start|>the same"):
            for _ in range(2):
                assert encoder.encode(text) == tokenizer.encode(text, add_special_tokens=False).ids
        assert sum(map(len, encoder._texts)) <= 2000 + 125
    assert all(len(text) <= 125 for text in encoder._texts)


def test_a_prompt_of_known_words_takes_a_fraction_of_the_time(model_path: Path) -> None:
    model = TextModel.load(model_path)
    words = "the of and to in is that for it as with was on are by this be from or an at which".split()  # noqa: SIM905
    text = " ".join(random.Random(1).choices(words, k=2000))
    fresh = (f"{text} {number}" for number in range(100))  # a text that was seen takes hardly any time at all
    assert model._words is not None

    def fastest(work: object) -> float:
        times = []
        for _ in range(5):
            began = time.thread_time()
            work(next(fresh))  # type: ignore[operator]
            times.append(time.thread_time() - began)
        return min(times)

    slow = fastest(lambda text: itself(model, text))
    assert fastest(model._words.encode) * 2 < slow
    seen = model._words
    assert fastest(lambda _: seen.encode(text)) * 50 < slow
