from __future__ import annotations

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from configs.experiment import SearchRange
from configs.loading import ConfigurationError, override_scenario
from configs.scenario import Scenario
from tests.trainer.experiments.test_grid import scenario_with
from trainer.tuning_space import (
    check_space,
    distributions,
    drawn_of,
    settings_of,
    split_space,
    value_at,
)

WORDS = [
    "training.learning_rate=log:1e-4..1e-2",
    "model.dropout_rate=0..0.5",
    "training.batch_size=choice:256,512,1024",
    "model.embedding_dimension=16..64/16",
    "model.top_units=choice:[200,80],[64]",
    "model.backbone_options.num_crosses=1..4",
]


def base(**assignments: object) -> Scenario:
    return scenario_with({}, model__backbone="dcnv2", **assignments)


def space_of(*words: str) -> dict[str, SearchRange]:
    overrides, space = split_space(words)
    assert overrides == []
    return space


def test_ranges_are_told_from_overrides() -> None:
    words = ["model.backbone=dcnv2", *WORDS, "work_dir=../x", "name=a..b", "training.seed=2"]
    overrides, space = split_space(words)
    assert overrides == ["model.backbone=dcnv2", "work_dir=../x", "name=a..b", "training.seed=2"]
    assert {key: searched.model_dump(exclude_defaults=True) for key, searched in space.items()} == {
        "training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "model.dropout_rate": {"low": 0, "high": 0.5},
        "training.batch_size": {"choices": (256, 512, 1024)},
        "model.embedding_dimension": {"low": 16, "high": 64, "step": 16},
        "model.top_units": {"choices": ([200, 80], [64])},
        "model.backbone_options.num_crosses": {"low": 1, "high": 4},
    }


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("training.learning_rate=log:0..1", "'log' needs a 'low' above 0"),
        ("training.learning_rate=log:0.1", "write it as log:LOW..HIGH"),
        ("model.dropout_rate=0.5..0.1", "'low' must be less than 'high'"),
        ("training.batch_size=choice:[1", "not valid YAML"),
        ("training.batch_size=choice:1,1", "'choices' name a value twice"),
    ],
)
def test_ranges_that_make_no_sense_are_explained(word: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as raised:
        split_space([word])
    assert word in str(raised.value)


def test_a_key_has_one_range() -> None:
    with pytest.raises(ConfigurationError, match="'model.dropout_rate' has two ranges"):
        split_space(["model.dropout_rate=0..0.5", "model.dropout_rate=choice:0.1"])


def test_a_good_space_is_accepted_and_drawn_by_the_kind_of_its_fields() -> None:
    space = space_of(*WORDS)
    check_space(base(), space)
    assert distributions(base(), space) == {
        "training.learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        "model.dropout_rate": FloatDistribution(0, 0.5),
        "training.batch_size": CategoricalDistribution([256, 512, 1024]),
        "model.embedding_dimension": IntDistribution(16, 64, step=16),
        "model.top_units": CategoricalDistribution(["[200, 80]", "[64]"]),
        "model.backbone_options.num_crosses": IntDistribution(1, 4),
    }


def test_whole_bounds_of_a_field_of_floats_are_floats() -> None:
    actual = distributions(base(), space_of("training.embedding_regularization=0..30"))
    assert actual == {"training.embedding_regularization": FloatDistribution(0, 30)}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("training.learnin_rate=0.1..0.2", "Did you mean 'training.learning_rate'"),
        ("model.dropout_rate=0..1", "model.dropout_rate: .*less than 1"),
        ("training.batch_size=0..9", "training.batch_size: .*greater than or equal to 1"),
        ("training.batch_size=0.5..9", "training.batch_size: .*valid integer"),
        ("model.adapter=choice:hein,hain", "model.adapter: .*'hain'"),
        ("training.optimizer=choice:adam,lazy_adam", "lazy_adam is for embedding tables"),
        ("evaluation.bootstrap_seed=1..9", "no training depends on it"),
        ("data.history_length=10..20", "it changes the data"),
        ("split.seed=1..5", "it changes the data"),
        ("work_dir=choice:out/a,out/b", "it changes the data"),
    ],
)
def test_what_a_scenario_does_not_take_is_refused(word: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        check_space(base(), space_of(word))


@pytest.mark.parametrize("key", ["model.hein", "model.hein.dropout_rate", "model"])
def test_fixed_keys_with_what_is_above_and_below_them_are_not_searched(key: str) -> None:
    space = {"model.hein": SearchRange.model_validate({"choices": [{}]})}
    with pytest.raises(ConfigurationError, match="cannot be searched: it is fixed"):
        check_space(base(), space, {key: "it is fixed"})


def test_what_is_drawn_becomes_settings_that_the_scenario_takes() -> None:
    space = space_of(*WORDS)
    drawn: dict[str, Any] = {
        "training.learning_rate": 0.002,
        "model.dropout_rate": 0.25,
        "training.batch_size": 512,
        "model.embedding_dimension": 32,
        "model.top_units": "[64]",
        "model.backbone_options.num_crosses": 3,
    }
    settings = settings_of(space, drawn)
    assert settings == {**drawn, "model.top_units": [64]}
    changed = override_scenario(base(), settings)
    assert changed.model.top_units == (64,)
    assert changed.model.backbone_options == {"num_crosses": 3}
    assert drawn_of(changed, space) == drawn


@pytest.mark.parametrize(
    "outside",
    [
        {"training.learning_rate": 0.1},
        {"training.batch_size": 300},
        {"model.embedding_dimension": 24},
        {"model.top_units": [9]},
    ],
)
def test_settings_outside_the_space_are_not_drawn(outside: dict[str, object]) -> None:
    space = space_of(*WORDS)
    inside = override_scenario(base(), {"model.backbone_options.num_crosses": 2})
    assert drawn_of(inside, space) is not None
    assert drawn_of(override_scenario(inside, outside), space) is None
    assert drawn_of(base(), space) is None


def test_values_are_found_by_dotted_keys() -> None:
    tree = {"a": {"b": {"c": 1}}, "d": None}
    assert value_at(tree, "a.b.c") == 1
    assert value_at(tree, "a.x.c") is None and value_at(tree, "d.e") is None
    assert value_at(tree, "a.*.c") == [1] and value_at(tree, "a.b.c.*") is None
