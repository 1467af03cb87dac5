from __future__ import annotations

import pytest
from pydantic import BaseModel

from configs.judging import Evaluation, Experiment
from tests.configs.refusals import assert_refused


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
    assert_refused(section, values)
