from __future__ import annotations

from configs.experiment import SearchRange
from configs.loading import override_scenario
from tests.trainer.report.synthetic import synthetic_scenario
from trainer.experiments.grid import arm_scenarios
from trainer.report.protocol import budget_entry, range_text


def entry_of(**overrides: object) -> tuple[str, str]:
    """The entry of the synthetic scenario; `training__epochs=3` sets `training.epochs`."""
    keys = {key.replace("__", "."): value for key, value in overrides.items()}
    scenario = override_scenario(synthetic_scenario(), keys)
    return budget_entry(scenario, arm_scenarios(scenario))


def test_every_setting_of_training_and_regularisation_is_listed() -> None:
    term, text = entry_of(
        training__epochs=4,
        training__batch_size=256,
        training__learning_rate=0.003,
        training__schedule="cosine",
        training__embedding_regularization=30,
        training__patience=1,
        model__dropout_rate=0.25,
        model__id_dropout_rate=0.15,
        model__knowledge_dropout_rate=0.06,
        model__hein__dropout_rate=0.07,
    )
    assert term == "Same budget in all arms"
    assert text == (
        "Epochs 4 at most; patience 1 epochs without a better validation result; batch size 256; "
        "optimizer Adam with learning rate 0.003, falling to 0 along a cosine over all epochs; "
        "L2 factor on the id embeddings of a batch 30; dropout 0.25; id dropout 0.15; knowledge "
        "dropout 0.06; expert dropout 0.07. Knowledge dropout acts on arms with an adapter, "
        "expert dropout on arms with HEIN. No settings were searched."
    )


def test_a_constant_learning_rate_is_called_so() -> None:
    assert "Adam with learning rate 0.001, kept constant" in entry_of()[1]


def test_an_arm_with_settings_of_its_own_is_named_with_them() -> None:
    arms = {
        "none": {"overrides": {"model.adapter": "none"}},
        "longer": {"overrides": {"training.epochs": 40, "model.dropout_rate": 0.5}},
        "other": {"overrides": {"model.match": "means"}},
    }
    term, text = entry_of(experiment__arms=arms)
    assert term == "Budget, not the same in all arms"
    assert text.endswith(
        "Arm 'longer' differs: epochs 40 at most (not 20 at most); dropout 0.5 (not 0.2)."
    )
    assert "'other'" not in text and "'none'" not in text


def test_further_settings_are_listed_where_they_are_not_the_default() -> None:
    text = entry_of(training__weight_decay=0.01, training__embedding_optimizer="adagrad")[1]
    assert "; embedding optimizer adagrad; weight decay 0.01." in text
    arms = {
        "none": {"overrides": {"model.adapter": "none"}},
        "clipped": {"overrides": {"training.gradient_clip_norm": 5.0}},
    }
    assert entry_of(experiment__arms=arms)[1].endswith(
        "Arm 'clipped' differs: gradient clip norm 5.0 (not as by default)."
    )


def test_the_tuning_budget_is_that_of_every_cell() -> None:
    text = entry_of(
        experiment__tuning={
            "trials": 12,
            "seed": 4,
            "space": {"training.learning_rate": {"low": 1e-4, "high": 0.01, "log": True}},
        }
    )[1]
    assert (
        "Of each cell (backbone and arm) 12 settings were tried, over the same space "
        "(training.learning_rate 0.0001 to 0.01, logarithmic), with the same search seed (4) and "
        "the first training seed (1), and judged on the validation part" in text
    )


def test_ranges_are_described() -> None:
    found = [
        range_text(SearchRange.model_validate(described))
        for described in (
            {"low": 0, "high": 0.5},
            {"low": 16, "high": 64, "step": 16},
            {"choices": [256, 512]},
        )
    ]
    assert found == ["0 to 0.5", "16 to 64 in steps of 16", "among 256, 512"]
