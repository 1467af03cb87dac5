from __future__ import annotations

import pytest
from pydantic import ValidationError

from configs.section import Section, named_once, split_names


class Lamp(Section):
    watts: int = 5


def test_a_section_is_immutable_and_refuses_unknown_keys() -> None:
    lamp = Lamp.model_validate({"watts": 7})
    with pytest.raises(ValidationError, match="frozen"):
        lamp.watts = 8  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Lamp.model_validate({"wats": 7})


def test_defaults_are_checked_like_input() -> None:
    class Broken(Section):
        watts: int = "many"  # type: ignore[assignment]

    with pytest.raises(ValidationError, match="valid integer"):
        Broken()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("item, user", ("item", "user")),
        ("item", ("item",)),
        (" ,item,, ", ("item",)),
        ("", ()),
        (["item", "user"], ["item", "user"]),
        (3, 3),
    ],
)
def test_names_in_one_text_are_split_and_all_else_is_left_alone(
    written: object, read: object
) -> None:
    assert split_names(written) == read


def test_a_name_stands_once_in_a_list() -> None:
    assert named_once(("item", "user")) == ("item", "user")
    assert named_once(()) == ()
    with pytest.raises(ValueError, match="'user' is named 3 times; name it once"):
        named_once(("item", "user", "user", "user"))
