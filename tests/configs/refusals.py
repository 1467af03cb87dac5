"""What the tests of every section of a configuration ask of wrong values."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError


def assert_refused(section: type[BaseModel], values: dict[str, object]) -> None:
    """The section refuses the one value, and every problem it reports names its key."""
    with pytest.raises(ValidationError) as raised:
        section.model_validate(values)
    (key,) = values
    named = {problem["loc"][0] for problem in raised.value.errors()}
    assert named == {key}, named
