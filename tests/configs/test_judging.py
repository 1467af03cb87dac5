from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from configs.judging import Evaluation, Experiment


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Experiment, {"seeds": ["first"]}),
        (Evaluation, {"bootstrap_resamples": 1}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    with pytest.raises(ValidationError) as raised:
        section.model_validate(values)
    (key,) = values
    assert {problem["loc"][0] for problem in raised.value.errors()} == {key}
