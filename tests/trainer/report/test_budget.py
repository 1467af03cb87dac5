from __future__ import annotations

from configs.loading import override_scenario
from tests.trainer.report.synthetic import synthetic_scenario
from trainer.report.budget import budget_entry
from trainer.report.protocol import arm_scenarios


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
        "Epochs 4 at most; patience 1 epochs without a better validation AUC; batch size 256; "
        "optimizer Adam with learning rate 0.003, falling to 0 along a cosine over all epochs; "
        "L2 factor on the id embeddings of a batch 30; dropout 0.25; id dropout 0.15; knowledge "
        "dropout 0.06; expert dropout 0.07. Knowledge dropout acts on arms with an adapter, "
        "expert dropout on arms with HEIN."
    )


def test_a_constant_learning_rate_is_called_so() -> None:
    assert "Adam with learning rate 0.001, kept constant" in entry_of()[1]


def test_an_arm_with_settings_of_its_own_is_named_with_them() -> None:
    arms = {
        "none": {"overrides": {"model.adapter": "none"}},
        "longer": {"overrides": {"training.epochs": 40, "model.dropout_rate": 0.5}},
        "other": {"overrides": {"model.match": "means", "training.seed": 9}},
    }
    term, text = entry_of(experiment__arms=arms)
    assert term == "Budget, not the same in all arms"
    assert text.endswith(
        "Arm 'longer' differs: epochs 40 at most (not 20 at most); dropout 0.5 (not 0.2)."
    )
    assert "'other'" not in text and "'none'" not in text
