"""The demo model's text side, loaded once."""

from pathlib import Path

import pytest

from tandem.processor.model import TextModel

MODEL = Path(__file__).parents[2] / "models" / "tiny-qwen3"


@pytest.fixture(scope="session")
def model_path() -> Path:
    return MODEL


@pytest.fixture(scope="session")
def text_model() -> TextModel:
    return TextModel.load(MODEL)
