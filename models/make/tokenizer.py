"""Train the byte-level BPE tokenizer and write the model folder's text files (everything but the weights)."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from . import dialogues, facts, shape, words


def train(texts: Iterable[str]) -> Tokenizer:
    """Learn merges from `texts`. Every byte is a token, so every text can be written."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(shape.SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(text, special=True, normalized=False) for text in shape.SPECIAL]
    visible = [AddedToken(text, special=False, normalized=False) for text in shape.VISIBLE]
    trainer = trainers.BpeTrainer(
        vocab_size=shape.VOCAB_SIZE,
        special_tokens=special + visible,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_folder(tokenizer: Tokenizer, folder: Path = shape.MODEL_DIR) -> None:
    """Write config, generation config and tokenizer. The chat template is kept by hand beside them."""
    saved = json.loads(tokenizer.to_str())
    for token in saved["added_tokens"]:
        token["special"] = token["content"] in shape.SPECIAL
    (folder / "tokenizer.json").write_text(json.dumps(saved, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for name, value in (
        ("config.json", shape.CONFIG),
        ("generation_config.json", shape.GENERATION_CONFIG),
        ("tokenizer_config.json", shape.TOKENIZER_CONFIG),
    ):
        (folder / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def texts() -> Iterator[str]:
    """What merges are learned from: drawn dialogues, and every fact and listed word often enough to become whole tokens."""
    rng = Random(shape.SEED)
    for _ in range(30_000):
        yield dialogues.sample(rng).text[-2500:]
    listed = [*words.COMMON, *words.VERBS, *words.NOUNS, *words.NAMES, *words.PLACES]
    for _ in range(200):
        yield " ".join(rng.sample(listed, len(listed)))
        yield "\n".join("\n".join(topic) for topic in facts.TOPICS)
        yield " ".join([*words.WORLD, *words.WORLD_ZH, *words.NOUNS_ZH, *words.ATTRS_ZH])


if __name__ == "__main__":
    write_folder(train(texts()))
