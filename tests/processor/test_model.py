"""Model folders: what is read, what is missing, and models that come and go with their workers."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.processor.fakes import FakeView, a_card

from tandem.errors import ConfigError, RequestError, Unavailable
from tandem.processor.model import GenerationDefaults, TextModel
from tandem.processor.serving import ServedModels


@pytest.fixture
def folder(model_path: Path, tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.json").write_bytes((model_path / "tokenizer.json").read_bytes())
    return tmp_path


def test_templates_and_defaults_are_found_where_they_may_be(folder: Path) -> None:
    assert TextModel.load(folder).template is None
    config = {"chat_template": "A {{ bos_token }}", "bos_token": {"content": "<s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text('{"temperature": 0.6, "eos_token_id": [1, 2], "top_k": 20}')
    loaded = TextModel.load(folder)
    assert loaded.template is not None
    assert loaded.template.render([]) == "A <s>"
    assert loaded.defaults == GenerationDefaults(temperature=0.6, top_k=20)
    named = [{"name": "rag", "template": "R"}, {"name": "default", "template": "D"}]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert (loaded := TextModel.load(folder)).template is not None
    assert loaded.template.render([]) == "D"
    (folder / "chat_template.jinja").write_text("J")
    assert (loaded := TextModel.load(folder)).template is not None
    assert loaded.template.render([]) == "J"
    (folder / "own.jinja").write_text("O")
    assert (loaded := TextModel.load(folder, template_file=folder / "own.jinja")).template is not None
    assert loaded.template.render([]) == "O"


def test_what_is_missing_or_broken_is_named(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.jinja is not there"):
        TextModel.load(folder, template_file=folder / "gone.jinja")
    (folder / "generation_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"generation_config\.json cannot be read"):
        TextModel.load(folder)
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json cannot be read"):
        TextModel.load(folder)
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json"):
        TextModel.load(folder / "nowhere")


def test_token_ids_are_checked_against_the_vocabulary(text_model: TextModel) -> None:
    text_model.check_token_ids([0, text_model.vocab_size - 1], "prompt")
    with pytest.raises(RequestError, match=f"outside the vocabulary of {text_model.vocab_size}"):
        text_model.check_token_ids([text_model.vocab_size], "prompt")


async def test_the_smallest_context_of_the_workers_is_the_models(text_model: TextModel) -> None:
    view = FakeView(a_card("w1", max_model_len=4096))
    models = ServedModels(view, component="VllmWorker", load=lambda _: text_model)
    await models.refresh(view.all())
    created = models.find("tiny").created
    view.add(a_card("w2", max_model_len=2048))
    await models.refresh(view.all())
    assert (models.find(None).max_model_len, models.find(None).created) == (2048, created)


async def test_a_folder_that_cannot_be_read_yet_is_read_when_it_can(
    text_model: TextModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tandem.processor.serving._LOAD_AGAIN_AFTER_S", 0.01)
    mounted = False

    def load(path: str) -> TextModel:
        if not mounted:
            raise ConfigError(f"{path} has no tokenizer.json")
        return text_model

    models = ServedModels(FakeView(a_card()), component="VllmWorker", load=load)
    following = asyncio.create_task(models.follow())
    async with asyncio.timeout(5):
        while "cannot be read here" not in (models.not_ready() or ""):
            await asyncio.sleep(0.002)
        with pytest.raises(Unavailable, match="cannot be read here"):
            models.find("tiny")
        mounted = True
        await models.wait_ready()
    assert models.find("tiny").text is text_model
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


async def test_a_configured_folder_is_read_at_start_and_used_for_all(text_model: TextModel) -> None:
    read: list[str] = []

    def load(path: str) -> TextModel:
        read.append(path)
        return text_model

    view = FakeView(a_card(path="/elsewhere"))
    models = ServedModels(view, component="VllmWorker", model_path="/mine", load=load)
    await models.prepare()
    await models.refresh(view.all())
    assert (read, models.find("tiny").path) == (["/mine"], "/mine")


async def test_readiness_waits_for_enough_decode_workers(text_model: TextModel) -> None:
    view = FakeView(a_card("w1"))
    models = ServedModels(view, component="VllmWorker", min_workers=2, load=lambda _: text_model)
    following = asyncio.create_task(models.follow())
    waiting = asyncio.create_task(models.wait_ready())
    await asyncio.sleep(0.05)
    assert models.not_ready() == "1 of 2 decode workers (VllmWorker) are there"
    assert not waiting.done()
    view.add(a_card("w2"))
    async with asyncio.timeout(5):
        await waiting
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
