"""Where an experiment is."""

from __future__ import annotations

import re
from pathlib import Path

from configs.scenario import Scenario


def experiment_folder(scenario: Scenario) -> Path:
    """The folder of a scenario's experiment, named after the scenario."""
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "-", scenario.name).lstrip(".-") or "experiment"
    return Path(scenario.work_dir) / "experiments" / name
