"""Sections of any configuration: what they take and how they are read from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, ValidationError, model_validator

from configs.loading import ConfigurationError, load_section
from configs.section import Section, input_names, named_once, split_names, variable_names


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


@pytest.mark.parametrize("name", ["item", "genre-2", "_v1", "9", "a" * 200])
def test_names_that_variables_may_have(name: str) -> None:
    assert variable_names((name,)) == (name,)
    if "-" not in name:
        assert input_names((name,)) == (name,)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../item", "/etc", "a/b", "a\\b", ".item", "a\0b", "a\n", "\ud800"),
        *("-a", "a b", "v1.0", "Größe", "映画", "a" * 201),
    ],
)
def test_names_that_variables_cannot_have_are_refused(name: str) -> None:
    for names in (variable_names, input_names):
        with pytest.raises(ValueError, match="becomes the name of files and of"):
            names(("item", name))


class Inner(Section):
    port: int = Field(1, ge=1)
    path: str | None = None


class Outer(Section):
    name: str
    numbers: tuple[int, ...] = ()
    inner: Inner = Inner()

    @model_validator(mode="after")
    def _is_not_forbidden(self) -> Outer:
        if self.name == "forbidden":
            raise ValueError("this name is forbidden")
        return self


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "outer.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_and_overrides(tmp_path: Path) -> None:
    path = written(tmp_path, "name: a\ninner: {port: 2}\n")
    assert load_section(Outer, path) == Outer(name="a", inner=Inner(port=2))
    overrides = ["name=b", "numbers=[1, 2]", "inner.path=x=y", "inner.port=3"]
    assert load_section(Outer, path, overrides) == Outer(
        name="b", numbers=(1, 2), inner=Inner(port=3, path="x=y")
    )


def test_an_override_makes_a_section_that_the_file_leaves_out(tmp_path: Path) -> None:
    path = written(tmp_path, "name: a\ninner:\n")
    assert load_section(Outer, path, ["inner.port=4"]).inner.port == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nnumber: [1]\n", "unknown key 'number'. Did you mean 'numbers'?"),
        ("name: a\ninner: {prt: 1}\n", "unknown key 'inner.prt'. Did you mean 'inner.port'?"),
        ("inner: {}\n", "key 'name' is missing"),
        ("name: a\ninner: {port: 0}\n", "inner.port: Input should be greater than or equal to 1"),
        ("name: a\ninner: {port: 0}\n", "Received: 0"),
        ("name: forbidden\n", "outer.yaml: this name is forbidden"),
    ],
)
def test_what_is_wrong_is_named(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_section(Outer, written(tmp_path, text))
    assert message in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path}/outer.yaml")
