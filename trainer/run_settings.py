"""The settings that a trained model depends on."""

from __future__ import annotations

from configs.scenario import Scenario

_OF_TRAINING_ALONE = {"tensorboard", "checkpoint_steps"}


def training_settings(scenario: Scenario) -> dict[str, object]:
    """What a trained model depends on.

    Which other runs stand beside it makes no difference, nor what is written while it is trained.
    """
    settings = scenario.model_dump(
        mode="json", exclude={"name", "run_dir", "evaluation", "experiment", "serving"}
    )
    for name in _OF_TRAINING_ALONE:
        del settings["training"][name]
    return settings
