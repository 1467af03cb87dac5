from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from configs.experiment import Evaluation, Experiment, SearchRange, Tuning
from tests.configs.refusals import assert_refused


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (Experiment, {"seeds": ["first"]}),
        (Experiment, {"seeds": []}),
        (Experiment, {"seeds": [1, 1]}),
        (Experiment, {"backbones": []}),
        (Experiment, {"backbones": ["din", "din"]}),
        (Experiment, {"adapters": ["hain"]}),
        (Experiment, {"adapters": ["hein", "hein"]}),
        (Experiment, {"matches": ["mean"]}),
        (Experiment, {"extractions": {"none_at_all": []}}),
        (Experiment, {"extractions": {"twice": ["item", "item"]}}),
        (Experiment, {"extractions": {"a/b": ["item"]}}),
        (Experiment, {"arms": {"../outside": {}}}),
        (Experiment, {"processes": 0}),
        (Experiment, {"tuning": {"trials": -1}}),
        (Evaluation, {"bootstrap_resamples": 1}),
        (Evaluation, {"user_activity_bounds": []}),
        (Evaluation, {"user_activity_bounds": [5, 1]}),
        (Evaluation, {"item_popularity_bounds": [0, 1]}),
        (Evaluation, {"item_popularity_bounds": [2, 2]}),
        (Evaluation, {"cold_user_below": 0}),
        (Evaluation, {"number_groups": 1}),
        (Evaluation, {"largest_groups": 0}),
        (Evaluation, {"sparse_below": 0}),
        (Evaluation, {"calibration_bins": 0}),
        (Evaluation, {"memory_megabytes": 255}),
        (Evaluation, {"threads": 0}),
        (Tuning, {"seed": -1}),
    ],
)
def test_values_out_of_range_are_refused(
    section: type[BaseModel], values: dict[str, object]
) -> None:
    assert_refused(section, values)


def test_names_may_be_joined_by_commas() -> None:
    experiment = Experiment.model_validate({"backbones": "din, dcnv2", "adapters": "none,hein"})
    assert experiment.backbones == ("din", "dcnv2")
    assert experiment.adapters == ("none", "hein")


@pytest.mark.parametrize(
    "values",
    [
        {"low": 0, "high": 0.5},
        {"low": "1e-4", "high": "1e-2", "log": True},
        {"low": 16, "high": 64, "step": 16},
        {"choices": [256, 512]},
        {"choices": [[200, 80], [64], None, True, "adam"]},
    ],
)
def test_a_range_comes_back_from_what_is_saved_of_it(values: dict[str, object]) -> None:
    searched = SearchRange.model_validate(values)
    assert SearchRange.model_validate(searched.model_dump(mode="json")) == searched


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "name both 'low' and 'high', or 'choices'"),
        ({"low": 1}, "name both 'low' and 'high', or 'choices'"),
        ({"low": 2, "high": 2}, "'low' must be less than 'high'"),
        ({"low": 0, "high": 1, "log": True}, "'log' needs a 'low' above 0"),
        ({"low": 1, "high": 2, "log": True, "step": 0.1}, "'log' and 'step' exclude each other"),
        ({"choices": [1], "low": 0}, "'choices' stand in place of"),
        ({"choices": [1], "log": True}, "'choices' stand in place of"),
        ({"choices": [1, 2, 1]}, "'choices' name a value twice"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(values: dict[str, object], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        SearchRange.model_validate(values)


@pytest.mark.parametrize(
    "values", [{"choices": []}, {"low": 0, "high": float("inf")}, {"low": 0, "high": 1, "step": 0}]
)
def test_empty_and_endless_ranges_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SearchRange.model_validate(values)
