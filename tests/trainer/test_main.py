from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from preprocessing.records.layout import WorkDirectory
from tests.runs import rich_run, write_run, written_run
from tests.scenarios import copied_scenario, rich_config, tiny_config
from trainer.__main__ import main
from trainer.run_folder import RunFolder


def test_train_evaluate_and_compare(json_result, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = json_result(
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
        "evaluate", str(folder), "--part", "test", "--predictions", str(predictions)
    )
    assert {"auc", "logloss", "gauc", "n"} <= set(evaluated["test"])
    table = pq.read_table(predictions)
    assert table.column_names == ["user_id", "item_id", "label", "score"]
    assert table.num_rows == evaluated["test"]["n"]
    validation = json_result("evaluate", str(folder), "--part", "validation")
    shared = {name: validation["validation"][name] for name in result["validation"]}
    assert shared == pytest.approx(result["validation"], abs=1e-6)

    others = ",".join(str(written_run(seed=seed).folder.path) for seed in (1, 2))
    compared = json_result("compare", str(folder), others, "--resamples", "20")
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
    run,
    json_result,
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
        result = json_result(*words, f"model.backbone={backbone}")
        assert result["selection_metric"] == metric and 0 <= result["validation"][metric] <= 1
        validation = {*result["validation"]}
    predictions = tmp_path / "scores.parquet"
    evaluated = json_result("evaluate", str(folder), "--predictions", str(predictions))
    table = pq.read_table(predictions)
    assert table.column_names == columns
    assert table.num_rows == evaluated["test"]["n"]
    assert validation <= evaluated["test"].keys()
    for k, share in evaluated.get("factorized_top_k", {}).items():
        assert share == pytest.approx(evaluated["test"][f"recall_at_{k}"], abs=1e-6)
    assert ("factorized_top_k" in evaluated) == (backbone == "two_tower")
    difference = json_result("compare", str(folder), str(other), "--resamples", "20")
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
    copy = shutil.copytree(other, tmp_path / "copy")
    code, _, errors = run("compare", str(folder), f"{other},{copy}", "--resamples", "20")
    assert code == 0 and "difference" in errors


def test_different_kinds_of_models_are_not_compared(run) -> None:
    runs = [str(rich_run(backbone).folder.path) for backbone in ("prm", "two_tower")]
    code, output, errors = run("compare", *runs, "--json")
    assert (code, output) == (1, "")
    assert "different kinds of models" in errors and f"{runs[0]}: rerank" in errors


def test_tasks_and_gates_are_reported(run, json_result, tmp_path: Path) -> None:
    run_folder = rich_run("din", tasks=True).folder.path
    predictions = tmp_path / "scores.parquet"
    arguments = ("evaluate", str(run_folder), "--gates", "--predictions", str(predictions))
    result = json_result(*arguments)
    assert set(result) == {"test", "reliability", "gates", "factor_weights", "leak_rule"}
    assert {"auc", "logloss", "gauc", "n"} <= set(result["test"]["tasks"]["loved"])
    assert set(result["gates"]) == {"item", "user"} and result["factor_weights"] == {}
    for weights in result["gates"].values():
        assert sum(weights) == pytest.approx(1, abs=1e-5)
    assert pq.read_table(predictions).column_names[-2:] == ["label_loved", "score_loved"]
    _, _, errors = run(*arguments)
    assert (
        "loved (AUC 0." in errors
        and "task 'loved':" in errors
        and "experts of source 'item': 0." in errors
    )


@pytest.mark.parametrize(
    ("override", "expected", "messages"),
    [
        pytest.param(
            "training.epoch=3",
            2,
            ["training.epoch", "Did you mean 'training.epochs'?"],
            id="unknown key",
        ),
        pytest.param(
            "model.embedding_dimension=5",
            2,
            ["error: scenario 'tiny', model.backbone 'di", "': the model cannot be built: "],
            id="model that cannot be built",
        ),
        pytest.param(
            "work_dir={folder}/nowhere",
            1,
            ["{folder}/nowhere", "python -m preprocessing"],
            id="no work directory",
        ),
    ],
)
def test_what_cannot_be_trained_is_explained(
    run, tmp_path: Path, override: str, expected: int, messages: list[str]
) -> None:
    words = ["train", "--config", str(tiny_config()), "--json", f"run_dir={tmp_path}/run"]
    code, output, errors = run(*words, override.format(folder=tmp_path))
    assert (code, output) == (expected, "")
    for message in messages:
        assert message.format(folder=tmp_path) in errors


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
def test_a_folder_without_a_run_is_a_failure(command: str, run, tmp_path: Path) -> None:
    folders = [str(tmp_path)] * (1 if command == "evaluate" else 2)
    code, output, errors = run(command, *folders, "--json")
    assert (code, output) == (1, "")
    assert "holds no finished run" in errors and "python -m trainer train" in errors


def test_damaged_data_is_a_failure_that_names_the_file(run, tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, run_dir=str(tmp_path / "run"), model__adapter="none")
    written = write_run(scenario)
    shard = WorkDirectory(scenario.work_dir).examples.shards("test")[0]
    shard.write_bytes(shard.read_bytes()[:-20])
    code, output, errors = run("evaluate", str(written.folder.path), "--json")
    assert (code, output) == (1, "")
    assert str(shard) in errors
