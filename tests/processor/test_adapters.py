"""LoRA adapters are models that clients can ask for by name, where a worker has them."""

import msgspec
import pytest
from tests.processor.fakes import House, MakeHouse, a_card, chat, saying

from tandem.core.cards import InstanceCard
from tandem.errors import ModelNotFound, Unavailable
from tandem.processor.model import TextModel


def with_adapters(instance_id: str, **adapters: str) -> InstanceCard:
    card = a_card(instance_id)
    assert card.engine is not None
    return msgspec.structs.replace(card, engine=msgspec.structs.replace(card.engine, adapters=adapters))


async def a_house_with(house: MakeHouse, text_model: TextModel, *cards: InstanceCard) -> House:
    one = await house(*[saying(text_model, "x")] * 2)
    one.view.add(*cards)
    await one.models.refresh(one.view.all())
    return one


async def test_an_adapter_is_listed_below_its_model_and_asked_of_a_worker_that_has_it(
    house: MakeHouse, text_model: TextModel
) -> None:
    one = await a_house_with(house, text_model, with_adapters("w2", sql="/adapters/sql"))
    listed = [(model.id, model.parent, model.root) for model in one.processor.models()]
    assert listed == [("tiny", None, "/m"), ("sql", "tiny", "/adapters/sql")]
    for _ in range(4):
        assert (await chat(one, model="sql")).model == "sql"
    assert {(to, request.lora_name) for to, request in one.workers.calls} == {("w2", "sql")}
    await chat(one, model="tiny")
    await chat(one, model="tiny")
    assert {(to, request.lora_name) for to, request in one.workers.calls[4:]} == {("w1", None), ("w2", None)}


async def test_who_names_no_model_gets_the_only_one_that_is_no_adapter(house: MakeHouse, text_model: TextModel) -> None:
    one = await a_house_with(house, text_model, with_adapters("w1", sql="/s", law="/l"))
    assert one.models.find(None).name == "tiny"
    with pytest.raises(ModelNotFound, match="'poetry' does not exist"):
        await chat(one, model="poetry")


async def test_an_adapter_whose_worker_left_is_unavailable_not_unknown(house: MakeHouse, text_model: TextModel) -> None:
    one = await a_house_with(house, text_model, with_adapters("w2", sql="/adapters/sql"))
    one.view.remove("w2")
    with pytest.raises(Unavailable, match="no decode worker serves sql at the moment"):
        await chat(one, model="sql")
