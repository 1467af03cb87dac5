from __future__ import annotations

import json
from pathlib import Path

import pytest
import tensorflow as tf

from serving.__main__ import main
from tests.runs import written_run


def test_json_names_the_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, base = str(written_run("din", "none").folder.path), tmp_path / "base"
    capsys.readouterr()
    assert main(["export", "--run", run, "--out", str(base), "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {
        "path": str(base / "1"),
        "version": 1,
        "signatures": ["classify", "predict_examples", "rank", "regress", "serving_default"],
        "leak_rule": {},
    }
    assert "unverified" not in captured.err
    assert captured.out.count("\n") == 1
    assert "version 1" in captured.err
    assert tf.saved_model.contains_saved_model(str(base / "1"))


def test_people_are_told_on_stderr_and_the_number_format_is_passed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(written_run("din", "hein").folder.path)
    capsys.readouterr()
    options = ["--augmented-dtype", "float16", "--proof", "quick", "--proof-samples", "20"]
    assert main(["export", run, "--out", str(tmp_path), *options]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and str(tmp_path / "1") in captured.err
    assert f"{tmp_path / '1'}: unverified sources: item: nothing shows" in captured.err
    reader = tf.train.load_checkpoint(str(tmp_path / "1" / "variables" / "variables"))
    augmented = {
        dtype for name, dtype in reader.get_variable_to_dtype_map().items() if "adapter" in name
    }
    assert augmented == {tf.float16}


def test_a_folder_without_a_run_is_a_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(tmp_path / "absent"), "--out", str(tmp_path / "base"), "--json"]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "there is no file or folder '" in captured.err and "Traceback" not in captured.err
    assert list(tmp_path.iterdir()) == []
    assert main(["export", str(tmp_path), *arguments[2:]]) == 1
    assert f"{tmp_path} holds no finished run" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "run"],
        ["export", "--out", "b"],
        ["export", "run", "--run", "run", "--out", "b"],
        ["export", "run", "--out", "b", "--augmented-dtype", "int3"],
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "Try 'python -m serving export --help'" in capsys.readouterr().err


def test_a_dry_run_loads_the_run_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(written_run("din", "none").folder.path)
    (tmp_path / "base" / "4").mkdir(parents=True)
    capsys.readouterr()
    words = ["--out", str(tmp_path / "base"), "--json", "--dry-run"]
    assert main(["export", run, *words]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "dry_run": True,
        "path": str(tmp_path / "base" / "5"),
        "version": 5,
        "signatures": ["classify", "predict_examples", "rank", "regress", "serving_default"],
    }
    assert [path.name for path in (tmp_path / "base").iterdir()] == ["4"]
    assert main(["export", str(tmp_path), *words]) == 1
