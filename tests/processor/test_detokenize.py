"""Every text comes back whole, however its tokens are portioned; U+FFFD only where bytes are no UTF-8."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tandem.processor.detokenize import ByteDetokenizer, Detokenizer, WindowDetokenizer
from tandem.processor.lane import TokenTexts
from tandem.processor.model import TextModel
from tandem.processor.vocabulary import byte_table

SCRIPTS = {
    "Latin": "Zażółć gęślą jaźń",
    "Greek": "Ξεσκεπάζω τὴν ψυχοφθόρα",
    "Cyrillic": "Съешь же ещё этих мягких",
    "Hebrew": "דג סקרן שט בים מאוכזב",
    "Arabic": "نص حكيم له سر قاطع",
    "Syriac": "ܐܒܓܕ ܗܘܙܚ",
    "Thaana": "ދިވެހި ބަސް",
    "NKo": "ߒߞߏ",
    "Devanagari": "ऋषियों को सताने वाले",
    "Bengali": "বাংলা লিপি",
    "Gurmukhi": "ਗੁਰਮੁਖੀ ਲਿਪੀ",
    "Gujarati": "ગુજરાતી લિપિ",
    "Oriya": "ଓଡ଼ିଆ ଲିପି",
    "Tamil": "தமிழ் எழுத்து",
    "Telugu": "తెలుగు లిపి",
    "Kannada": "ಕನ್ನಡ ಲಿಪಿ",
    "Malayalam": "മലയാള ലിപി",
    "Sinhala": "සිංහල අක්ෂර",
    "Thai": "เป็นมนุษย์สุดประเสริฐ",
    "Lao": "ອັກສອນລາວ",
    "Tibetan": "བོད་ཡིག",
    "Myanmar": "မြန်မာအက္ခရာ",
    "Georgian": "ქართული დამწერლობა",
    "Hangul": "한글 자모 ㄱㄴㄷ",
    "Ethiopic": "የአማርኛ ፊደል",
    "Cherokee": "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
    "Khmer": "អក្សរខ្មែរ",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ ᠪᠢᠴᠢᠭ",
    "Kana": "いろはにほへと チリヌルヲ",
    "Han": "天地玄黃 宇宙洪荒 𠀋𡈽",
    "Gothic": "𐌲𐌿𐍄𐌹𐍃𐌺",
    "Emoji": "🙂👩‍👩‍👧‍👦🏳️‍🌈 e\u0301 \u200d",
}
BYTES = [bytes([b]) for b in range(256)]


def read(detokenizer: Detokenizer, ids: Sequence[int], cuts: Sequence[int] = ()) -> str:
    """The whole text, fed in portions that end at `cuts`, or token by token."""
    borders = sorted({0, len(ids), *(c for c in cuts if c < len(ids))}) if cuts else range(len(ids) + 1)
    portions = [ids[a:b] for a, b in zip(borders, list(borders)[1:], strict=False)]
    return "".join(detokenizer.feed(p) for p in portions) + detokenizer.close()


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_every_script_comes_back_at_every_split(text: str) -> None:
    data = text.encode()
    for cut in range(1, len(data)):
        detokenizer = ByteDetokenizer(TokenTexts(BYTES))
        first = detokenizer.feed(list(data[:cut]))
        assert "\ufffd" not in first
        assert text.startswith(first)
        assert first + detokenizer.feed(list(data[cut:])) + detokenizer.close() == text
    assert read(ByteDetokenizer(TokenTexts(BYTES)), list(data)) == text


@pytest.mark.parametrize("text", SCRIPTS.values(), ids=SCRIPTS.keys())
def test_the_demo_models_tokens_give_the_text_back(text_model: TextModel, text: str) -> None:
    assert read(text_model.detokenizer(), text_model.encode(text, add_special_tokens=False)) == text


@given(data=st.binary(max_size=60), cuts=st.lists(st.integers(0, 60), max_size=8))
def test_any_bytes_read_as_python_reads_them_at_once(data: bytes, cuts: list[int]) -> None:
    assert read(ByteDetokenizer(TokenTexts(BYTES)), list(data), cuts) == data.decode("utf-8", "replace")


@given(
    ids=st.lists(st.integers(0, 4607), max_size=40), cuts=st.lists(st.integers(0, 40), max_size=6), skip=st.booleans()
)
def test_any_tokens_read_as_the_tokenizers_own_decoder_does(
    text_model: TextModel, ids: list[int], cuts: list[int], skip: bool
) -> None:
    ours = read(text_model.detokenizer(skip_special_tokens=skip), ids, cuts)
    assert ours == text_model._tokenizer.decode(ids, skip_special_tokens=skip)


def test_special_tokens_are_skipped_or_spelt_and_unknown_ids_are_nothing(text_model: TextModel) -> None:
    ids = [1, *text_model.encode("hi", add_special_tokens=False), 3, 2, 10**6]
    assert text_model.detokenizer().feed(ids) == "hi<think>"
    assert text_model.detokenizer().feed([10**6]) == ""
    assert text_model.detokenizer(skip_special_tokens=False).feed(ids) == "<|im_start|>hi<think><|im_end|>"
    assert text_model.detokenizer(keep=["<|im_end|>", "no token"]).feed(ids) == "hi<think><|im_end|>"


def test_sentence_piece_spaces_and_byte_tokens() -> None:
    vocab = {"▁Hello": 0, "▁": 1, "wor": 2, "<0xE2>": 3, "<0x82>": 4, "<0xAC>": 5, "<s>": 6}
    decoder = {"type": "Sequence", "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    table = byte_table(vocab, {6: "<s>"}, decoder)
    assert table is not None
    detokenizer = ByteDetokenizer(TokenTexts(table))
    assert [detokenizer.feed([i]) for i in (0, 1, 2, 3, 4, 5)] == [" Hello", " ", "wor", "", "", "€"]


def test_an_added_token_with_a_space_is_spelt_plainly() -> None:
    assert byte_table({"Ġa": 0, "a b": 1}, {1: "a b"}, {"type": "ByteLevel"}) == [b" a", b"a b"]


@pytest.mark.parametrize(
    "decoder", [None, {"type": "WordPiece"}, {"type": "Sequence", "decoders": [{"type": "BPEDecoder"}]}]
)
def test_other_decoders_have_no_table(decoder: dict[str, Any] | None) -> None:
    assert byte_table({"a": 0}, {}, decoder) is None


@given(st.lists(st.sampled_from(range(6)), max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_word_pieces_are_joined_as_the_library_joins_them(ids: list[int], cuts: list[int]) -> None:
    vocab = {"[UNK]": 0, "play": 1, "##ing": 2, "the": 3, "##s": 4, "game": 5}
    tokenizer = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    model = TextModel(tokenizer, decoder={"type": "WordPiece"}, added=[])
    assert isinstance(model.detokenizer(), WindowDetokenizer)
    while ids and ids[0] in (2, 4):  # a joined piece at the very beginning keeps its marks in the library
        ids = ids[1:]
    assert read(model.detokenizer(), ids, cuts) == tokenizer.decode(ids)
