from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import yaml

from examples.movielens_small.demo import main
from preprocessing.records.layout import WorkDirectory
from serving import export
from serving.export import export_run
from tests.scenarios import (
    ITEMS_OUTSIDE_CATALOGUE,
    MALFORMED_INTERACTIONS,
    MALFORMED_ITEM_ANSWERS,
    USERS_WITH_ANSWER,
    write_tiny_inputs,
)
from tests.serving.exports import UNPROVEN
from trainer.evaluation.runs import predict_run
from trainer.experiments import trainers
from trainer.run_folder import RunFolder

METRICS = {"auc", "logloss", "gauc", "n"}
CELLS = [("din", "none"), ("din", "hein_match")]


@dataclass(frozen=True)
class Demo:
    """A finished demo on the tiny scenario."""

    config: Path
    work_dir: Path
    results: dict[str, Any]
    said: str

    def run(self) -> int:
        """Runs it (again)."""
        arguments = ["--config", str(self.config), "--work-dir", str(self.work_dir), "--json"]
        return main(arguments)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    config, work_dir = write_tiny_inputs(folder), folder / "out"
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    tree["experiment"]["backbones"] = ["din"]
    config.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    output, said = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(said),
    ):
        # The demo asks the served export itself; the slow tests prove it as well.
        patch.setattr(export, "export_run", functools.partial(export_run, options=UNPROVEN))
        code = main(["--config", str(config), "--work-dir", str(work_dir), "--json"])
    assert code == 0, said.getvalue()
    yield Demo(config, work_dir, json.loads(output.getvalue()), said.getvalue())
    shutil.rmtree(folder)


def test_results_hold_what_the_contract_names(demo: Demo) -> None:
    results = demo.results
    assert json.loads((demo.work_dir / "report" / "results.json").read_text()) == results
    assert {
        *("runs", "comparisons", "leak_violations", "served_max_abs_difference", "steps")
    } <= set(results)
    assert sorted((run["backbone"], run["knowledge"]) for run in results["runs"]) == sorted(CELLS)
    for run in results["runs"]:
        assert set(run) >= {
            *("backbone", "knowledge", "seed", "validation", "test", "train_seconds", "epochs")
        }
        assert set(run["validation"]) == set(run["test"]) == METRICS
        assert (run["seed"], run["epochs"]) == (1, 2)
    for comparison in results["comparisons"]:
        assert set(comparison) >= {
            *("backbone", "knowledge", "auc_none", "auc_knowledge", "auc_difference"),
            *("ci_low", "ci_high", "relative_lift"),
        }
        assert comparison["ci_low"] <= comparison["auc_difference"] <= comparison["ci_high"]
    assert [(row["backbone"], row["knowledge"]) for row in results["comparisons"]] == [
        ("din", "hein_match")
    ]


def test_every_step_reconciles(demo: Demo) -> None:
    steps = {step["name"].split()[0]: step for step in demo.results["steps"]}
    assert list(steps) == ["encode", "build", "train", "export", "serve"]
    for step in demo.results["steps"]:
        assert {"name", "seconds", "records_in", "records_out", "dead_letters"} <= set(step)
        assert step["records_in"] == step["records_out"] + step["dead_letters"], step
    item, user = demo.results["steps"][:2]
    assert (item["name"], item["dead_letters"]) == ("encode item answers", MALFORMED_ITEM_ANSWERS)
    assert (user["records_in"], user["dead_letters"]) == (len(USERS_WITH_ANSWER), 0)
    assert steps["build"]["dead_letters"] == MALFORMED_INTERACTIONS
    assert steps["train"]["records_out"] == len(CELLS)
    assert demo.results["leak_violations"] == 0


def test_served_scores_are_the_checkpoints(demo: Demo) -> None:
    assert 0 <= demo.results["served_max_abs_difference"] < 1e-5
    lines = demo.said.splitlines()
    (heading,) = (line for line in lines if "candidates for a test user" in line)
    candidates = int(heading.split()[0])
    assert 10 <= candidates <= 20
    samples = demo.results["runs"][0]["test"]["n"]
    assert demo.results["steps"][-1]["records_out"] == samples + 2 * candidates
    ranking = lines[lines.index(heading) + 1 :][:candidates]
    assert [int(line.split()[0].rstrip(".")) for line in ranking] == list(range(1, candidates + 1))
    scores = [float(line.split()[1]) for line in ranking]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) > candidates / 2
    assert sum("Film " in line for line in ranking) >= candidates - len(ITEMS_OUTSIDE_CATALOGUE)


def test_the_reported_metrics_are_those_of_the_run_folders(demo: Demo) -> None:
    for run in demo.results["runs"]:
        folder = demo.work_dir / "runs" / f"{run['backbone']}_{run['knowledge']}_seed1"
        assert run["validation"] == RunFolder(folder).read_metrics()["validation"]
    din = next(run for run in demo.results["runs"] if run["knowledge"] == "hein_match")
    folder = demo.work_dir / "runs" / f"{din['backbone']}_hein_match_seed1"
    assert predict_run(folder, "test").metrics() == pytest.approx(din["test"], abs=1e-6)


def test_report_and_export_are_where_the_contract_says(demo: Demo) -> None:
    assert (demo.work_dir / "report" / "report.html").stat().st_size > 10_000
    assert "hein_match" in (demo.work_dir / "report" / "results.md").read_text()
    assert tf.saved_model.contains_saved_model(str(demo.work_dir / "export" / "1"))
    attributes = WorkDirectory(demo.work_dir).examples.item_attributes
    assert attributes.exists()
    assert demo.said.count("s; ") >= len(demo.results["steps"])
    for number in range(1, 7):
        assert f"[{number}/6] " in demo.said


# That finished steps and runs are not repeated is tested beside them; this is the whole once more.
@pytest.mark.slow
def test_a_second_run_repeats_no_finished_step(
    demo: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("a finished run is trained again")

    monkeypatch.setattr(trainers, "train", refuse)
    before = finished_files(demo.work_dir)
    capsys.readouterr()
    assert demo.run() == 0
    captured = capsys.readouterr()
    assert captured.err.count("(unchanged, not repeated)") == 3
    assert captured.err.count("(already trained)") == len(CELLS)
    assert finished_files(demo.work_dir) == before
    again = json.loads(captured.out)
    for key in ("runs", "comparisons", "popularity_slices", "leak_violations"):
        assert again[key] == demo.results[key], key
    for cell, sources in demo.results["gates"].items():
        for source, weights in sources.items():
            np.testing.assert_allclose(again["gates"][cell][source], weights, atol=1e-6)


def finished_files(work_dir: Path) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for name in ("knowledge", "examples", "runs")
        for path in (work_dir / name).rglob("*")
        if path.is_file()
    }


def test_a_missing_scenario_is_wrong_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--config", str(tmp_path / "absent.yaml"), "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "there is no file or folder" in captured.err
    assert "absent.yaml" in captured.err


@pytest.mark.slow
def test_knowledge_helps_both_backbones_on_the_bundled_sample(
    repository_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(repository_root)
    assert main(["--quick", "--work-dir", str(tmp_path / "out"), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    assert {run["seed"] for run in results["runs"]} == {1}
    match = {
        row["backbone"]: row for row in results["comparisons"] if row["knowledge"] == "hein_match"
    }
    assert set(match) == {"din", "dcnv2"}
    for row in match.values():
        assert row["auc_knowledge"] > row["auc_none"] and row["ci_low"] > 0, row
    assert results["served_max_abs_difference"] < 1e-5
    assert results["leak_violations"] == 0
