"""The text side of a model folder: tokenizer, chat template, special tokens, generation defaults.

Only text files are read. Weights, and the numbers that depend on how an engine was started (context
length, block size), are the workers' business.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import Tokenizer

from tandem.errors import ConfigError, RequestError
from tandem.processor.detokenize import ByteDetokenizer, Detokenizer, WindowDetokenizer
from tandem.processor.encoding import WordEncoder, word_encoder
from tandem.processor.lane import TokenTexts
from tandem.processor.template import ChatTemplate
from tandem.processor.vocabulary import byte_table


class GenerationDefaults(msgspec.Struct, frozen=True, kw_only=True):
    """generation_config.json: what a model's maker recommends. The same fields that vLLM obeys."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_new_tokens: int | None = None


class _AddedToken(msgspec.Struct, frozen=True):
    id: int
    content: str
    special: bool = False


class _TokenizerFile(msgspec.Struct, frozen=True):
    added_tokens: list[_AddedToken] = []
    decoder: dict[str, Any] | None = None


class TextModel:
    """Encodes prompts and decodes answers of one model. Shared by all its requests; holds no state of any."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        decoder: dict[str, Any] | None,
        added: Sequence[_AddedToken],
        template: ChatTemplate | None = None,
        defaults: GenerationDefaults | None = None,
        architectures: Sequence[str] = (),
        words: WordEncoder | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._words = words
        self._adds_special_tokens = tokenizer.num_special_tokens_to_add(False) > 0
        self.template = template
        self.architectures = tuple(architectures)
        """`architectures` and `model_type` of config.json."""
        self.defaults = defaults or GenerationDefaults()
        self._table = byte_table(tokenizer.get_vocab(), {token.id: token.content for token in added}, decoder)
        self._special_ids = {token.content: token.id for token in added if token.special}
        self._texts: dict[tuple[str, ...] | None, TokenTexts] = {}
        """What tokens stand for: all of them (None), or without special tokens but these."""
        self.vocab_size = len(self._table) if self._table else tokenizer.get_vocab_size()

    @classmethod
    def load(cls, folder: str | Path, *, template_file: str | Path | None = None) -> "TextModel":
        """Read a model folder. Takes up to a second for a large vocabulary: call it from a thread.

        Raises:
            ConfigError: a file is missing or unreadable; the message names it.
        """
        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ConfigError(
                f"{folder} has no tokenizer.json: a model folder with a fast tokenizer is needed", param="model"
            )
        try:
            raw = path.read_bytes()
            form = msgspec.json.decode(raw, type=_TokenizerFile)
            tokenizer = Tokenizer.from_buffer(raw)
        except Exception as error:  # the tokenizers library raises plain Exception
            raise ConfigError(f"{path} cannot be read: {error}", param="model") from error
        config = _json_file(folder / "tokenizer_config.json")
        return cls(
            tokenizer,
            decoder=form.decoder,
            added=form.added_tokens,
            template=_template(folder, config, template_file),
            defaults=msgspec.convert(_json_file(folder / "generation_config.json"), GenerationDefaults),
            architectures=_architectures(_json_file(folder / "config.json")),
            words=word_encoder(raw, tokenizer),
        )

    def encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        """Tokens of a text. Releases the interpreter lock: long texts may be encoded in a thread."""
        if self._words is not None and not (add_special_tokens and self._adds_special_tokens):
            found = self._words.encode(text)
            if found is not None:
                return found
        # Without the places of tokens in the text, which nobody asks for.
        return self._tokenizer.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of a prompt given as tokens, special ones spelt out."""
        return self._tokenizer.decode(list(token_ids), skip_special_tokens=False)

    def detokenizer(self, *, skip_special_tokens: bool = True, keep: Sequence[str] = ()) -> Detokenizer:
        """A fresh one, for one sequence.

        Args:
            keep: special tokens that are written out even so.
        """
        kept = tuple(keep) if skip_special_tokens else None
        if self._table is not None:
            if kept not in self._texts:
                skipped = self._skipped(kept)
                self._texts[kept] = TokenTexts([b"" if i in skipped else text for i, text in enumerate(self._table)])
            return ByteDetokenizer(self._texts[kept])
        skipped = self._skipped(kept)
        return WindowDetokenizer(
            lambda ids: self._tokenizer.decode([i for i in ids if i not in skipped], skip_special_tokens=False)
        )

    def _skipped(self, keep: tuple[str, ...] | None) -> frozenset[int]:
        if keep is None:
            return frozenset()
        return frozenset(token_id for text, token_id in self._special_ids.items() if text not in keep)

    def is_special(self, text: str) -> bool:
        """Whether it is a special token: one that stands for no text."""
        return text in self._special_ids

    def token_bytes(self, token_id: int) -> bytes:
        """What a single token stands for; empty outside the vocabulary."""
        if self._table is not None:
            return self._table[token_id] if token_id < len(self._table) else b""
        return (self._tokenizer.id_to_token(token_id) or "").encode()

    def check_token_ids(self, token_ids: Sequence[int], param: str) -> None:
        """Raises `RequestError` for an id outside the vocabulary."""
        # An engine's own vocabulary may be padded beyond the tokenizer's; ids in the padding mean nothing.
        if token_ids and max(token_ids) >= self.vocab_size:
            raise RequestError(
                f"{param}: token {max(token_ids)} is outside the vocabulary of {self.vocab_size}", param=param
            )


def _json_file(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}", param="model") from error


def _architectures(config: dict[str, Any]) -> list[str]:
    named = config.get("architectures")
    found = [*named, config.get("model_type")] if isinstance(named, list) else [config.get("model_type")]
    return [name for name in found if isinstance(name, str)]


def _template(folder: Path, config: dict[str, Any], template_file: str | Path | None) -> ChatTemplate | None:
    """The chat template: the configured file, else chat_template.jinja, else tokenizer_config.json's."""
    path = Path(template_file) if template_file else folder / "chat_template.jinja"
    if path.is_file():
        source = path.read_text(encoding="utf-8")
    elif template_file:
        raise ConfigError(f"the chat template {path} is not there", param="chat_template")
    else:
        source = _named_template(config.get("chat_template"))
    return ChatTemplate(source, _special_tokens(config)) if source else None


def _named_template(value: Any) -> str:
    if isinstance(value, list):  # several, by name
        return next((str(one["template"]) for one in value if one.get("name") == "default"), "")
    return value if isinstance(value, str) else ""


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    """`bos_token` and its kin, as templates name them."""
    found = {}
    for key, value in config.items():
        if key.endswith("_token") and value:
            text = value.get("content") if isinstance(value, dict) else value
            if isinstance(text, str):
                found[key] = text
    return found
