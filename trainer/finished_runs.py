"""Whether a run is there already and need not be trained."""

from __future__ import annotations

from configs.scenario import Scenario
from trainer.run_folder import RunFolder, training_code_version
from trainer.run_settings import training_settings
from trainer.tables import fingerprint


def is_up_to_date(folder: RunFolder, scenario: Scenario) -> bool:
    """Whether a folder holds a finished run with these settings, this data and this code."""
    return (
        folder.is_complete
        and folder.read_metrics().get("code_version") == training_code_version()
        and training_settings(folder.read_scenario()) == training_settings(scenario)
        and folder.read_metrics()["fingerprint"] == fingerprint(scenario)
    )
