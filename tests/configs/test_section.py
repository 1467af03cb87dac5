from __future__ import annotations

import pytest
from pydantic import ValidationError

from configs.section import Section


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
