from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from configs.contract_versions import contract_version
from configs.scenario import Scenario
from tests.runs import synthetic_metrics
from tests.scenarios import tiny_scenario
from trainer.tables import data_fingerprint
from trainer.tracking import EpochRow, Tracking, tracked_training


class Notes(Tracking):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def start_run(self, scenario: Scenario, folder: Path, tags: Mapping[str, str]) -> None:
        self.told.append((scenario, folder, dict(tags)))

    def log_epoch(self, row: EpochRow) -> None:
        self.told.append(row)

    def finish(self, folder: Path) -> None:
        self.told.append(f"finished {folder}")

    def abandon(self, reason: str) -> None:
        self.told.append(f"abandoned: {reason}")


def test_a_training_is_told_from_its_start_to_its_end(tmp_path: Path) -> None:
    scenario = tiny_scenario(run_dir=str(tmp_path / "run"), training__seed=4)
    notes, heard = Notes(), []
    result = synthetic_metrics(scenario)

    def train(listeners):
        for listener in listeners:
            listener({"epoch": 1})
        return result

    actual = tracked_training(scenario, notes, train, {"role": "trial 3"}, [heard.append])
    assert actual is result and heard == [{"epoch": 1}]
    (started, folder, tags), row, end = notes.told
    assert (started, folder) == (scenario, tmp_path / "run")
    assert tags == {
        "role": "trial 3",
        "backbone": "din",
        "seed": "4",
        "code_version": contract_version("training"),
        "fingerprint": json.dumps(data_fingerprint(scenario), sort_keys=True),
    }
    assert row == {"epoch": 1} and end == f"finished {tmp_path / 'run'}"


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_training_that_fails_is_told_so(tmp_path: Path, error: BaseException) -> None:
    notes = Notes()

    def train(listeners):
        raise error

    with pytest.raises(type(error)):
        tracked_training(tiny_scenario(run_dir=str(tmp_path)), notes, train)
    assert notes.told[1:] == [f"abandoned: {str(error) or 'KeyboardInterrupt'}"]
