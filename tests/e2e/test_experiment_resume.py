from __future__ import annotations

import json
import shutil
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.killing import Command
from tests.scenarios import tiny_config, tiny_scenario
from tests.trainer.experiments.processes import workers_of

pytestmark = pytest.mark.slow

RATE = "{low: 0.003, high: 0.03, log: true}"


@pytest.fixture()
def command(repository_root: Path, tmp_path: Path) -> Command:
    """Commands over a work directory of their own."""
    work = Path(tiny_scenario().work_dir)
    ignored = shutil.ignore_patterns("runs", "experiments", "tuning", "export")
    shutil.copytree(work, tmp_path / "work", ignore=ignored)
    return Command(repository_root, tmp_path)


def experiment(name: str, *more: str) -> list[str]:
    """DIN in two arms, two trials and two seeds each."""
    tuning = f"{{trials: 2, seed: 1, space: {{training.learning_rate: {RATE}}}}}"
    return [
        *("trainer", "experiment", "--config", str(tiny_config()), "--json", f"name={name}"),
        *("work_dir=work", "experiment.backbones=[din]", "experiment.seeds=[1, 2]"),
        *(f"experiment.tuning={tuning}", *more),
    ]


def finished(folder: Path) -> int:
    return len([path for path in folder.glob("**/metrics.json") if path.parent.name[0] != "."])


def has_runs(folder: Path, count: int) -> bool:
    return finished(folder) >= count


def outcome(results: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on time and place."""
    return {
        "runs": [
            {key: run[key] for key in ("knowledge", "seed", "validation", "test", "settings")}
            for run in results["runs"]
        ],
        "comparisons": results["comparisons"],
        "trials": [
            [(trial["settings"], trial["validation"], trial["state"]) for trial in cell["trials"]]
            for cell in results["tuning"]["cells"]
        ],
    }


def test_a_killed_experiment_ends_as_an_unbroken_one(command: Command, tmp_path: Path) -> None:
    """Killed while settings are searched, and again while seeds are trained."""
    unbroken = json.loads(command.run(experiment("unbroken", "--processes", "2")))
    expected = outcome(json.loads((tmp_path / unbroken["results"]).read_text()))
    folder = tmp_path / "work" / "experiments" / "broken"
    broken = experiment("broken", "--processes", "2")
    for runs in (1, 4):
        begun = partial(has_runs, folder, runs)
        assert command.run_killed(broken, begun, delay=0.5)
        deadline = time.monotonic() + 30
        while workers_of("broken") and time.monotonic() < deadline:
            time.sleep(0.1)
        assert workers_of("broken") == []
    assert 4 <= finished(folder) < 8 and not (folder / "report").exists()
    times = {path: path.stat().st_mtime_ns for path in folder.glob("trials/*/trial*/metrics.json")}
    resumed = json.loads(command.run(broken))
    assert {path: path.stat().st_mtime_ns for path in times} == times
    actual = outcome(json.loads((tmp_path / resumed["results"]).read_text()))
    assert actual["trials"] == [
        [(settings, pytest.approx(value, abs=1e-6), state) for settings, value, state in cell]
        for cell in expected["trials"]
    ]
    for new, old in zip(actual["runs"], expected["runs"], strict=True):
        for part in ("validation", "test"):
            assert new[part] == pytest.approx(old[part], abs=1e-6)
        assert new["settings"] == old["settings"]
    for new, old in zip(actual["comparisons"], expected["comparisons"], strict=True):
        assert new["difference"] == pytest.approx(old["difference"], abs=1e-6)


def test_a_killed_search_ends_as_an_unbroken_one(command: Command, tmp_path: Path) -> None:
    def tune(out: str) -> list[str]:
        return [
            *("trainer", "tune", "--config", str(tiny_config()), "--json", "work_dir=work"),
            *("--trials", "4", "--out", out, "model.adapter=none"),
            *("training.learning_rate=log:1e-3..1e-1", "training.batch_size=choice:64,128"),
        ]

    expected = json.loads(command.run(tune("unbroken")))
    folder = tmp_path / "broken"
    for trials in (1, 3):
        begun = folder / f".trial000{trials + 1}.unfinished"
        assert command.run_killed(tune("broken"), begun.exists, delay=0.2)
    actual = json.loads(command.run(tune("broken")))
    assert (actual["trials"], actual["complete"]) == (4, 4)
    assert actual["best"]["settings"] == expected["best"]["settings"]
    assert actual["best"]["value"] == pytest.approx(expected["best"]["value"], abs=1e-6)
    tables = [
        [line.split(",")[:5] for line in (tmp_path / name / "trials.csv").read_text().splitlines()]
        for name in ("unbroken", "broken")
    ]
    for old, new in zip(*tables, strict=True):
        assert (new[:2], new[4:]) == (old[:2], old[4:])
        if old[0] != "trial":
            assert float(new[2]) == pytest.approx(float(old[2]), abs=1e-6)
