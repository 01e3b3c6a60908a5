"""The pages' descriptions are valid, their commands run or parse, and the guide has the same ones in both languages."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from tests.deploy.builders import ROOT, described

from tandem.cli import deploy, main
from tandem.deploy.autoscaling import behavior
from tandem.deploy.reading import read_description
from tandem.models.places import open_store, parse_place

DOCS = ROOT / "docs"
PAGES = ("guide.md", "guide.zh.md", "deploy.md", "scaling.md")


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[list[str]]:
    """Lines that begin with `tandem deploy`, and those named in the text."""
    text = (DOCS / page).read_text()
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    lines += re.findall(r"`(tandem deploy [^`]* -f [^`]*)`", text)
    return [shlex.split(line, comments=True) for line in lines if line.startswith("tandem deploy")]


@pytest.mark.parametrize("page", PAGES)
def test_every_description_is_valid(page: str) -> None:
    for block in blocks(page, "yaml"):
        assert read_description(block, page).name


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_that_there_is(page: str) -> None:
    found = commands(page)
    assert found or page == "scaling.md"
    for words in found:
        deploy._parser("tandem deploy").parse_args(words[2:])


def test_the_guides_render_runs_as_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for page in ("guide.md", "guide.zh.md"):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "service.yaml").write_text(blocks(page, "yaml")[0])
        [words] = [words for words in commands(page) if words[2] == "render" and "-o" in words]
        assert main.main(words[1:]) == 0
        assert (tmp_path / "manifests" / "01-model.yaml").exists()
        text = (tmp_path / "service.yaml").read_text()
        (tmp_path / "service.yaml").write_text(text.replace("gpu-memory: 80Gi", "gpu-memory: 32Gi"))
        assert main.main(words[1:]) == 2, "the guide's own sum"


def test_what_the_guide_exports_is_enough_to_reach_its_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for page in ("guide.md", "guide.zh.md"):
        text = "\n".join(blocks(page, "sh"))
        lines = [shlex.split(line) for line in re.findall("^(?:export|tandem models) .*", text, re.MULTILINE)]
        with monkeypatch.context() as patch:
            for name, _, value in (word.partition("=") for line in lines if line[0] == "export" for word in line[1:]):
                patch.setenv(name, value)
            [target] = [line[-1] for line in lines if line[:3] == ["tandem", "models", "push"]]
            open_store(parse_place(target), timeout_s=1.0, connections=1).close()


def test_both_languages_say_the_same() -> None:
    assert blocks("guide.md", "yaml") == blocks("guide.zh.md", "yaml")
    ours, theirs = ("\n".join(blocks(page, "sh")) for page in ("guide.md", "guide.zh.md"))
    bare = [re.sub(r"#.*|Let us test it|测试一下", "", text) for text in (ours, theirs)]
    assert bare[0].split() == bare[1].split()


def test_the_page_of_windows_says_what_is_rendered() -> None:
    rows = {row.split(" | ")[0].strip("| "): row for row in (DOCS / "scaling.md").read_text().splitlines()}
    for role, sure, down in (("prefill", 0, 180), ("decoder", 30, 300), ("processor", 30, 60)):
        rule = behavior(role)
        assert rule["scaleUp"]["stabilizationWindowSeconds"] == sure
        assert rule["scaleDown"]["policies"] == [{"type": "Pods", "value": 1, "periodSeconds": down}]
        assert rule["scaleDown"]["stabilizationWindowSeconds"] == 600
        assert ("at once" if sure == 0 else f"{sure} s") in rows[role]
        assert (f"per {down // 60} minutes" if down > 60 else "per minute") in rows[role]


def test_deploys_short_description_is_the_shortest_that_is_shown() -> None:
    shown = yaml.safe_load(blocks("deploy.md", "yaml")[0])
    assert set(shown) == {"name", "image", "model", "roles"}
    assert described().namespace == "default"
