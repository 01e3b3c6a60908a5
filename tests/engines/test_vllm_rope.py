"""What is said of RoPE reaches the model whole, whichever way a guide spells it."""

from typing import Any

import pytest

from tandem.engines.vllm.rope import completed

OWN = {"rope_theta": 1e6, "rope_scaling": None, "max_position_embeddings": 40960}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}
WHOLE = {**YARN, "rope_theta": 1e6}


@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize("config", [OWN, {"rope_parameters": {"rope_theta": 1e6}, "max_position_embeddings": 40960}])
def test_yarn_keeps_the_base_and_names_the_new_limit(key: str, config: dict[str, Any]) -> None:
    found = completed({key: YARN, "x": 1}, config)
    assert found == {"x": 1, "rope_parameters": WHOLE, "max_position_embeddings": 131072}


def test_a_limit_that_is_given_stays() -> None:
    found = completed({"rope_scaling": YARN, "max_position_embeddings": 65536}, OWN)
    assert found["max_position_embeddings"] == 65536


def test_the_models_own_limit_is_what_is_multiplied_when_none_is_named() -> None:
    found = completed({"rope_scaling": {"type": "yarn", "factor": 2.0}}, OWN)
    assert found["max_position_embeddings"] == 81920
    assert found["rope_parameters"]["original_max_position_embeddings"] == 40960
    assert found["rope_parameters"]["rope_type"] == "yarn"


def test_a_base_alone_leaves_the_scaling_as_it_is() -> None:
    scaled = {**OWN, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}
    assert completed({"rope_theta": 5e5}, OWN) == {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}
    assert completed({"rope_theta": 5e5}, scaled) == {
        "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}
    }


@pytest.mark.parametrize("config", [{}, {"text_config": OWN}, {"rope_parameters": {"full_attention": WHOLE}}])
def test_what_cannot_be_completed_is_passed_on_as_it_is(config: dict[str, Any]) -> None:
    assert completed({"rope_scaling": YARN}, config) == {"rope_scaling": YARN}


def test_overrides_that_do_not_concern_rope_are_left_alone() -> None:
    assert completed({"num_hidden_layers": 2}, OWN) == {"num_hidden_layers": 2}
