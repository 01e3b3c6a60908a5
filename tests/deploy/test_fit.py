"""Sums that cannot come out are refused before anything is applied: the guide's own among them."""

from typing import Any

from tests.core.test_model_fit import QWEN3_32B, a_shape
from tests.deploy.builders import described

from tandem.deploy.fit import fit_faults, told_shape


def faults(gpu_memory: str, **role: Any) -> list[str]:
    workers = {"gpus": 2, "gpu-memory": gpu_memory, **role}
    wish = described(model__weights="65.5G", roles__decoder=workers, roles__prefill=workers)
    shape = told_shape(wish)
    assert shape is not None
    return list(fit_faults(wish, shape))


def test_two_gpus_of_32_gb_do_not_hold_65_gb_of_weights() -> None:
    found = faults("32Gi")
    assert [line.split(":")[0] for line in found] == ["roles.prefill", "roles.decoder"]
    assert "65.5 GB of weights do not fit 2 GPUs of 34.4 GB (61.8 GB usable)" in found[0]
    assert "tensor-parallel: 4 would hold it, with gpus: 4" in found[0]


def test_one_gpu_of_two_is_not_two() -> None:
    assert "do not fit 1 GPU of 85.9 GB" not in "".join(faults("80Gi", **{"tensor-parallel": 1, "workers": 2}))
    assert "do not fit 1 GPU of 51.5 GB" in "".join(faults("48Gi", **{"tensor-parallel": 1, "workers": 2}))


def test_two_gpus_of_80_gb_do() -> None:
    assert faults("80Gi") == []


def test_without_the_gpus_size_nothing_is_said() -> None:
    wish = described(model__weights="65.5G", roles__decoder={"gpus": 1})
    shape = told_shape(wish)
    assert shape is not None
    assert list(fit_faults(wish, shape)) == []


def test_a_model_that_lies_here_is_reckoned_with_its_kv_cache() -> None:
    workers = {"gpus": 1, "gpu-memory": "80Gi", "settings": {"max-model-len": 40960}}
    wish = described(roles__decoder=workers, roles__prefill=None)
    [fault] = fit_faults(wish, a_shape(QWEN3_32B))
    assert fault.startswith("roles.decoder: 1 × 40960 tokens need 10.7 GB of KV cache on each GPU")
    assert list(fit_faults(described(roles__decoder=workers | {"gpus": 2}), a_shape(QWEN3_32B))) == []


def test_settings_count_in_either_spelling() -> None:
    assert faults("80Gi") == []
    short = "".join(faults("80Gi", settings={"gpu_memory_utilization": 0.3}))
    assert "do not fit 2 GPUs" in short
    assert "tensor-parallel: 4 would hold it" in short, "at the share that was written: 2 would at the usual one"
    assert faults("80Gi", settings={"max-model-len": "32k"}) == [], "the engine's to read"


def test_a_new_volume_that_is_smaller_than_the_weights_is_refused() -> None:
    def volume(size: str) -> list[str]:
        storage = {"kind": "storage-class", "size": size, "source": "hf://org/name"}
        wish = described(model__weights="65.5G", model__storage=storage)
        shape = told_shape(wish)
        assert shape is not None
        return list(fit_faults(wish, shape))

    assert volume("60Gi") == ["model.storage.size is 60Gi, and the weights alone take 65.5 GB"]
    assert volume("70Gi") == []
