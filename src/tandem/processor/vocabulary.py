"""Token id → the bytes that it stands for, for the two families of tokenizers that have such a table.

Byte-level BPE (GPT-2, Llama 3, Qwen, DeepSeek, …) writes each byte as one printable character;
SentencePiece-like ones write a space as `▁` and a byte that has no token as `<0xAB>`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

_BYTE_TOKEN: Final = re.compile(r"^<0x([0-9A-Fa-f]{2})>$")


def byte_table(
    vocab: Mapping[str, int], added: Mapping[int, str], decoder: Mapping[str, Any] | None
) -> list[bytes] | None:
    """The bytes of every id (b"" where there is no token), or None for a tokenizer that has no such table.

    Args:
        vocab: token as the tokenizer spells it, to id.
        added: id to content of added tokens, which are spelt plainly.
        decoder: `decoder` of tokenizer.json.
    """
    kinds = _kinds(decoder)
    if "ByteLevel" in kinds:
        spell = _byte_level
    elif "ByteFallback" in kinds or "Metaspace" in kinds:
        spell = _sentence_piece
    else:
        return None
    table = [b""] * (max([*vocab.values(), *added], default=-1) + 1)
    for token, token_id in vocab.items():
        table[token_id] = spell(token)
    for token_id, content in added.items():
        table[token_id] = content.encode()
    return table


def _kinds(decoder: Mapping[str, Any] | None) -> set[str]:
    if decoder is None:
        return set()
    parts = decoder.get("decoders", ()) if decoder.get("type") == "Sequence" else (decoder,)
    return {str(part.get("type")) for part in parts}


def _gpt2_bytes() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for characters from U+0100 on."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + i): byte for i, byte in enumerate(others)}


_ALPHABET: Final = _gpt2_bytes()


def _byte_level(token: str) -> bytes:
    try:
        return bytes([_ALPHABET[character] for character in token])
    except KeyError:  # not written in the alphabet: an added token, spelt plainly
        return token.encode()


def _sentence_piece(token: str) -> bytes:
    byte = _BYTE_TOKEN.match(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()
