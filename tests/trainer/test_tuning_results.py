from __future__ import annotations

import csv
from pathlib import Path

from configs.loading import load_scenario, override_scenario
from tests.scenarios import tiny_scenario
from tests.trainer.searches import SPACE, MadeUpTraining, diverging_at
from trainer.tuning import Study, best_trial
from trainer.tuning_results import write_results


def test_the_best_scenario_a_table_and_a_plot_are_written(tmp_path: Path) -> None:
    scenario = tiny_scenario(run_dir=str(tmp_path / "elsewhere"))
    study = Study(tmp_path / "study", scenario, SPACE, seed=2)
    study.run(4, MadeUpTraining(diverging_at(3)))
    result = write_results(study, scenario, SPACE)
    best = best_trial(study.trials)
    assert best is not None and result["best"] == {
        "trial": best.number,
        "value": best.value,
        "settings": best.settings,
        "run": str(tmp_path / "study" / f"trial000{best.number}"),
    }
    counts = [result[key] for key in ("trials", "complete", "failed", "pruned")]
    assert counts == [4, 3, 1, 0]
    assert result["metric"] == "auc"
    expected = override_scenario(scenario, {**best.settings, "run_dir": None})
    assert load_scenario(str(result["best_config"])) == expected
    with Path(result["trials_csv"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["state"] for row in rows] == ["complete", "complete", "failed", "complete"]
    assert rows[2]["validation_auc"] == "" and rows[2]["reason"] == "the loss is nan"
    assert float(rows[0]["validation_auc"]) == study.trials[0].value
    assert rows[0]["training.batch_size"] == "128"
    assert Path(result["plot"]).read_bytes().startswith(b"<?xml")


def test_without_a_result_there_is_no_best_scenario(tmp_path: Path) -> None:
    scenario = tiny_scenario()
    study = Study(tmp_path, scenario, SPACE, seed=2)
    study.run(1, MadeUpTraining(diverging_at(1)))
    result = write_results(study, scenario, SPACE)
    assert result["best"] is None and result["best_config"] is None
    assert not (tmp_path / "best.yaml").exists()
    assert Path(result["trials_csv"]).exists() and Path(result["plot"]).exists()
