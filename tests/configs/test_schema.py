from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import jsonschema
import pytest
import yaml
from pydantic import Field

from configs.loading import described_keys
from configs.schema import allowed_values, editor_schema
from configs.section import Section


class Crust(Section):
    thickness: float = Field(1.5, gt=0, lt=10)


class Bread(Section):
    flour: Literal["rye", "wheat"] = "rye"
    weight: int = Field(ge=1, le=9)
    rests: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0, 2.5)
    salt: float | None = None
    sliced: bool = False
    notes: dict[str, str] = Field(default_factory=dict)
    crust: Crust = Crust()
    others: dict[str, Crust] = Field(default_factory=dict)


def test_what_may_be_written_is_said_in_words() -> None:
    assert allowed_values(Bread) == {
        "flour": "one of rye, wheat; default: rye",
        "weight": "whole number from 1 to 9; required",
        "rests": "list of: number; default: [1, 2.5]",
        "salt": "number or null; default: null",
        "sliced": "true or false; default: false",
        "notes": "map to text; default: {}",
        "crust.thickness": "number above 0 below 10; default: 1.5",
        "others.<name>.thickness": "number above 0 below 10; default: 1.5",
    }


def test_every_key_of_a_scenario_has_its_values() -> None:
    allowed = allowed_values()
    assert list(allowed) == list(described_keys())
    assert "any value" not in allowed["model.backbone"] and "din" in allowed["model.backbone"]


READY = sorted(Path("configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", READY, ids=str)
def test_editors_accept_the_ready_scenarios(path: Path, repository_root: Path) -> None:
    document = yaml.safe_load((repository_root / path).read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(editor_schema()).validate(document)


def test_editors_mark_mistakes() -> None:
    document = {"name": "x", "work_dir": "out", "data": {}, "model": {"match": "rigde"}}
    found = jsonschema.Draft202012Validator(editor_schema()).iter_errors(document)
    places = {".".join(map(str, error.absolute_path)) for error in found}
    assert places == {"data", "model.match"}


def test_every_option_of_a_scenario_says_what_it_is():
    def undescribed(schema: object, place: str) -> list[str]:
        if isinstance(schema, list):
            return [name for one in schema for name in undescribed(one, place)]
        if not isinstance(schema, dict):
            return []
        found = []
        for name, option in schema.get("properties", {}).items():
            if not {"description", "$ref", "properties"} & {*option}:
                found.append(f"{place}.{name}")
        nested = schema.items()
        return found + [name for key, one in nested for name in undescribed(one, f"{place}.{key}")]

    assert undescribed(editor_schema(), "") == []
