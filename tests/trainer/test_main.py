from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from preprocessing.records.layout import WorkDirectory
from tests.runs import rich_run, write_run, written_run
from tests.scenarios import copied_scenario, list_files_anew, rich_config, tiny_config
from trainer.__main__ import main
from trainer.run_folder import RunFolder


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    capsys.readouterr()
    code = main(arguments)
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def json_result(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The one JSON object that a successful command prints."""
    code, output, errors = run(capsys, *arguments, "--json")
    assert code == 0, errors
    assert output.count("\n") == 1 and output.endswith("\n")
    return json.loads(output)


def test_train_evaluate_and_compare(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = json_result(
        capsys,
        *["train", "--config", str(tiny_config()), f"run_dir={folder}"],
        *["model.adapter=none", "training.epochs=1"],
    )
    assert result["leak_rule"] == {}  # no source is read, though one of the examples is unverified
    (warning,) = result["warnings"]
    assert warning.startswith("validation still rose when training ended after training.epochs=1")
    assert result["selection_metric"] == "auc"
    assert set(result["validation"]) == {"auc", "logloss", "gauc", "n"}
    assert (result["run"], result["epochs"], result["best_epoch"]) == (str(folder), 1, 1)
    assert RunFolder(folder).read_scenario().training.epochs == 1

    predictions = tmp_path / "scores.parquet"
    evaluated = json_result(
        capsys, "evaluate", str(folder), "--part", "test", "--predictions", str(predictions)
    )
    assert {"auc", "logloss", "gauc", "n"} <= set(evaluated["test"])
    table = pq.read_table(predictions)
    assert table.column_names == ["user_id", "item_id", "label", "score"]
    assert table.num_rows == evaluated["test"]["n"]
    validation = json_result(capsys, "evaluate", str(folder), "--part", "validation")
    shared = {name: validation["validation"][name] for name in result["validation"]}
    assert shared == pytest.approx(result["validation"], abs=1e-6)

    others = ",".join(str(written_run(seed=seed).folder.path) for seed in (1, 2))
    compared = json_result(capsys, "compare", str(folder), others, "--resamples", "20")
    assert compared["part"] == "test" and compared["n"] == evaluated["test"]["n"]
    assert (compared["runs_a"], compared["runs_b"]) == (1, 2)
    assert compared["auc_a"] == pytest.approx(evaluated["test"]["auc"])
    assert compared["auc_difference"] == pytest.approx(compared["auc_b"] - compared["auc_a"])


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("backbone", "metric", "columns", "compared"),
    [
        (
            "prm",
            "ndcg_at_10",
            ["list_id", "user_id", "item_id", "label", "score"],
            ["auc", "ndcg_at_10"],
        ),
        pytest.param(
            "two_tower",
            "new_items_recall_at_10",
            ["user_id", "item_id", "rank", "rank_new_items", "tied", "tied_new_items"],
            ["new_items_recall_at_10"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_kinds_of_models_go_through_the_same_commands(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    backbone: str,
    metric: str,
    columns: list[str],
    compared: list[str],
    trained: bool,
) -> None:
    folder = other = rich_run(backbone).folder.path
    validation: set[str] = set()
    if trained:
        folder = tmp_path / "run"
        words = ["train", "--config", str(rich_config()), f"run_dir={folder}", "training.epochs=1"]
        result = json_result(capsys, *words, f"model.backbone={backbone}")
        assert result["selection_metric"] == metric and 0 <= result["validation"][metric] <= 1
        validation = {*result["validation"]}
    predictions = tmp_path / "scores.parquet"
    evaluated = json_result(capsys, "evaluate", str(folder), "--predictions", str(predictions))
    table = pq.read_table(predictions)
    assert table.column_names == columns
    assert table.num_rows == evaluated["test"]["n"]
    assert validation <= evaluated["test"].keys()
    for k, share in evaluated.get("factorized_top_k", {}).items():
        assert share == pytest.approx(evaluated["test"][f"recall_at_{k}"], abs=1e-6)
    assert ("factorized_top_k" in evaluated) == (backbone == "two_tower")
    difference = json_result(capsys, "compare", str(folder), str(other), "--resamples", "20")
    keys = {f"{name}_{end}" for name in compared for end in ("a", "b", "difference")}
    keys |= {
        f"{prefix}{name}"
        for prefix in ("", *(f"{name}_" for name in compared[1:]))
        for name in ("ci_low", "ci_high", "p_value", "relative_lift", "seed_standard_error")
    }
    keys |= {"delong"} if "auc" in compared else set()
    keys |= {"covers_seeds", "seeds", "leak_rule_a", "leak_rule_b"}
    assert set(difference) == keys | {"part", "n", "users", "runs_a", "runs_b"}
    assert difference["n"] == evaluated["test"]["n"]
    assert difference[f"{metric}_a"] == pytest.approx(evaluated["test"][metric])
    code, _, errors = run(capsys, "compare", str(folder), f"{other},{other}", "--resamples", "20")
    assert code == 0 and "difference" in errors


def test_different_kinds_of_models_are_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [str(rich_run(backbone).folder.path) for backbone in ("prm", "two_tower")]
    code, output, errors = run(capsys, "compare", *runs, "--json")
    assert (code, output) == (1, "")
    assert "different kinds of models" in errors and f"{runs[0]}: rerank" in errors


def test_tasks_and_gates_are_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run_folder = rich_run("din", tasks=True).folder.path
    predictions = tmp_path / "scores.parquet"
    arguments = ("evaluate", str(run_folder), "--gates", "--predictions", str(predictions))
    result = json_result(capsys, *arguments)
    assert set(result) == {"test", "reliability", "gates", "factor_weights", "leak_rule"}
    assert {"auc", "logloss", "gauc", "n"} <= set(result["test"]["tasks"]["loved"])
    assert set(result["gates"]) == {"item", "user"} and result["factor_weights"] == {}
    for weights in result["gates"].values():
        assert sum(weights) == pytest.approx(1, abs=1e-5)
    assert pq.read_table(predictions).column_names[-2:] == ["label_loved", "score_loved"]
    _, _, errors = run(capsys, *arguments)
    assert (
        "loved (AUC 0." in errors
        and "task 'loved':" in errors
        and "experts of source 'item': 0." in errors
    )


def test_people_are_told_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    code, output, errors = run(capsys, "evaluate", str(written_run().folder.path))
    assert (code, output) == (0, "")
    assert "test: AUC 0." in errors and "samples" in errors


def test_an_unknown_key_is_wrong_configuration_with_a_suggestion(
    capsys: pytest.CaptureFixture[str],
) -> None:
    code, output, errors = run(
        capsys, "train", "--config", str(tiny_config()), "training.epoch=3", "--json"
    )
    assert (code, output) == (2, "")
    assert "training.epoch" in errors and "Did you mean 'training.epochs'?" in errors


def test_a_model_that_cannot_be_built_is_wrong_configuration(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["train", "--config", str(tiny_config()), f"run_dir={tmp_path}/run"]
    code, output, errors = run(capsys, *words, "model.backbone=dim")
    assert (code, output) == (2, "") and "Did you mean 'din'?" in errors
    code, output, errors = run(capsys, *words, "model.embedding_dimension=5")
    assert (code, output) == (2, "")
    assert "error: scenario 'tiny', model.backbone 'di" in errors
    assert "': the model cannot be built: " in errors


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["guess"],
        ["train"],
        ["evaluate", "runs/a", "--part", "dev"],
        ["compare", "runs/a"],
        ["compare", "runs/a", "runs/b", "--resamples", "0"],
        ["compare", "runs/a,", "runs/b"],
        ["compare", "runs/a", "runs/b,,runs/c"],
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == "" and "Try 'python -m trainer" in captured.err


def test_an_empty_name_of_a_run_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["compare", "runs/a,", "runs/b"])
    error = capsys.readouterr().err
    assert "joined by commas, without spaces. Received: 'runs/a,', where a name is empty" in error


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_the_help_names_the_default_part(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert "(default: test)" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_a_folder_without_a_run_is_a_failure(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folders = [str(tmp_path)] * (1 if command == "evaluate" else 2)
    code, output, errors = run(capsys, command, *folders, "--json")
    assert (code, output) == (1, "")
    assert "holds no finished run" in errors and "python -m trainer train" in errors


def test_damaged_data_is_a_failure_that_names_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    scenario = copied_scenario(tmp_path, run_dir=str(tmp_path / "run"), model__adapter="none")
    written = write_run(scenario)
    shard = WorkDirectory(scenario.work_dir).examples.shards("test")[0]
    shard.write_bytes(shard.read_bytes()[:-20])
    code, output, errors = run(capsys, "evaluate", str(written.folder.path), "--json")
    assert (code, output) == (1, "")
    assert str(shard) in errors


def test_runs_of_different_samples_are_not_compared(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    scenario = copied_scenario(tmp_path, run_dir=str(tmp_path / "run"), model__adapter="none")
    examples = WorkDirectory(scenario.work_dir).examples
    shutil.rmtree(examples.part("test"))
    shutil.copytree(examples.part("validation"), examples.part("test"))
    list_files_anew(examples)
    other = write_run(scenario)
    code, output, errors = run(
        capsys, "compare", str(written_run().folder.path), str(other.folder.path)
    )
    assert (code, output) == (1, "")
    assert "different samples" in errors


def test_a_missing_work_directory_is_explained(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    place = f"{tmp_path}/nowhere"
    code, output, errors = run(
        capsys, "train", "--config", str(tiny_config()), "--json", f"work_dir={place}"
    )
    assert (code, output) == (1, "")
    assert place in errors and "python -m preprocessing" in errors
