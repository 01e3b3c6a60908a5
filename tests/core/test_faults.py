"""What a decoder finds wrong is one sentence for whoever sent it: the field, what it must be, what it is."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from tandem.core.faults import FieldFault, field_fault


class Cat(msgspec.Struct, tag_field="kind", tag="cat"):
    lives: Annotated[int, Meta(ge=1, le=9)] = 9


class Dog(msgspec.Struct, tag_field="kind", tag="dog"):
    name: str = ""


class House(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    street: Annotated[str, Meta(min_length=1, max_length=8)] = "a"
    number: Annotated[int, Meta(ge=1)] | None = 1
    heat: Annotated[float, Meta(gt=0, lt=40)] = 20.0
    pets: Annotated[list[Cat | Dog], Meta(min_length=1)] = msgspec.field(default_factory=lambda: [Cat()])
    doors: dict[Annotated[str, Meta(max_length=4)], Annotated[int, Meta(le=3)]] = {}
    colour: Literal["red", "green"] | None = None
    code: Annotated[str, Meta(pattern="^[0-9]+$")] | list[int] = "1"
    rooms: tuple[str, ...] = ()
    open: bool = False


class Street(msgspec.Struct):
    houses: list[House]


def fault_of(sent: Any, kind: Any = House, **how: Any) -> FieldFault:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(sent, kind)
    return field_fault(str(caught.value), kind, sent, **how)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"street": ""}, 'street must be a string of 1 to 8 characters, not ""'),
        ({"street": "a" * 99}, "street must be a string of 1 to 8 characters, not a string of 99 characters"),
        ({"number": 0}, "number must be an integer of at least 1, not 0"),
        ({"number": 1.5}, "number must be an integer of at least 1, not 1.5"),
        ({"number": -(10**80)}, "number must be an integer of at least 1, not one of 82 digits"),
        ({"heat": "hot"}, 'heat must be a number above 0 and below 40, not "hot"'),
        ({"open": "yes"}, 'open must be true or false, not "yes"'),
        ({"colour": "blue"}, 'colour must be "green" or "red", not "blue"'),
        ({"pets": []}, "pets must be a list of at least 1 object, not []"),
        ({"pets": [{"kind": "cow"}]}, 'pets[0].kind must be "cat" or "dog", not "cow"'),
        ({"pets": [{}]}, 'pets[0].kind is missing: it must be "cat" or "dog"'),
        (
            {"pets": [{"kind": "dog"}, {"kind": "cat", "lives": 10}]},
            "pets[1].lives must be an integer from 1 to 9, not 10",
        ),
        ({"doors": {"in": 1, "out": 4}}, "doors['out'] must be an integer of at most 3, not 4"),
        ({"doors": {"front": 1}}, "doors has a name that is not a string of at most 4 characters"),
        ({"code": "x"}, 'code must be a string that matches ^[0-9]+$ or a list of integers, not "x"'),
        ({"rooms": [1]}, "rooms[0] must be a string, not 1"),
        ({"garden": True}, "garden is not known"),
    ],
)
def test_a_field_its_form_and_its_value_are_told(sent: dict[str, Any], said: str) -> None:
    fault = fault_of(sent)
    assert f"{fault.field} {fault.what}" == said


def test_what_is_missing_is_told_with_its_form() -> None:
    assert fault_of({}, Street) == ("houses", "is missing: it must be a list of objects", True)


def test_the_whole_has_no_name() -> None:
    assert fault_of([], Street) == ("", "must be an object, not []", False)


def test_an_entry_is_named_in_the_field_and_its_mapping_is_the_parameter() -> None:
    fault = fault_of({"houses": [{"doors": {"a.b['c']": 4}}]}, Street)
    assert (fault.param, fault.top) == ("houses[0].doors", "houses")


def test_a_part_is_told_with_where_it_is() -> None:
    assert fault_of([{"street": 5}], list[House], inside="houses").field == "houses[0].street"


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"open": "my secret"}, "not a string of 9 characters"),
        ({"open": ["my secret"]}, "not a list of 1"),
        ({"open": {"my": "secret"}}, "not an object"),
        ({"open": 7}, "not 7"),
        ({"colour": "blue"}, 'not "blue"'),  # one of a few words is nobody's own text
    ],
)
def test_a_private_value_is_told_by_kind_and_size(sent: dict[str, Any], shown: str) -> None:
    assert fault_of(sent, private=True).what.endswith(shown)


def test_nothing_is_said_of_a_value_that_is_not_at_hand() -> None:
    assert field_fault("Expected `bool`, got `str` - at `$.open`", House) == ("open", "must be true or false", False)
