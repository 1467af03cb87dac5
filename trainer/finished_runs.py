"""Whether a run is there already: it need not be trained, or may not be replaced."""

from __future__ import annotations

import json

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from trainer.run_folder import RunFolder, training_code_version
from trainer.run_settings import training_settings
from trainer.tables import fingerprint
from trainer.training_identity import differences


def is_up_to_date(folder: RunFolder, scenario: Scenario) -> bool:
    """Whether a folder holds a finished run with these settings, this data and this code."""
    return (
        folder.is_complete
        and folder.read_metrics().get("code_version") == training_code_version()
        and training_settings(folder.read_scenario()) == training_settings(scenario)
        and folder.read_metrics()["fingerprint"] == fingerprint(scenario)
    )


def require_no_other_run(folder: RunFolder, scenario: Scenario) -> None:
    """Makes sure that a training replaces no finished run that has other settings.

    Args:
      folder: where the run belongs.
      scenario: its settings.

    Raises:
      ConfigurationError: there is a finished run with other settings; the message names them.
    """
    if not folder.is_complete:
        return
    try:
        there = json.dumps(training_settings(folder.read_scenario()))
    except ConfigurationError as error:
        reason = f"whose settings this version of the code cannot read ({error})"
    else:
        asked = json.dumps(training_settings(scenario))
        names = differences(there, asked)
        if not names:
            return
        reason = f"with other settings ({', '.join(names)})"
    raise ConfigurationError(
        f"{folder.path} holds a finished run {reason}, which this training would replace; give the "
        "new one a place of its own by 'run_dir=FOLDER', or replace the old one with --force"
    )
