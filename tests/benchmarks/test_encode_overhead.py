from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import encode_overhead, evaluation_memory
from benchmarks.evaluation_memory import synthetic_scores


@pytest.mark.slow
def test_every_measure_is_a_json_line(repository_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(repository_root)
    encode_overhead.main(["--answers", "60", "--kind", "tfidf", "--folder", str(tmp_path)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("program", "ratio") for line in lines] == [
        "encoder alone",
        "step, nothing kept",
        "step, everything kept",
        "ratio",
    ]
    assert {line["answers"] for line in lines} == {60} and {line["seed"] for line in lines} == {1}
    alone, step, _, ratio = lines
    assert ratio["step_to_encoder_seconds"] == pytest.approx(
        step["seconds"] / alone["seconds"], rel=2e-3
    )
    assert step["cores"] >= 1


def test_more_answers_than_there_are_stay_distinct(repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    parsed = argparse.Namespace(files=encode_overhead._BUNDLED, answers=7000, seed=3)
    texts = encode_overhead._some_texts(parsed)
    assert len(texts) == len(set(texts)) == 7000


def test_another_folder_is_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="run this in the root of the repository"):
        encode_overhead.main(["--answers", "3"])


@pytest.mark.slow
def test_every_number_of_rows_is_a_json_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evaluation_memory.main(["--rows", "3000", "9000", "--seed", "2", "--folder", str(tmp_path)])
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["rows"] for line in lines] == [3000, 9000]
    for line in lines:
        assert line["benchmark"] == "evaluation_memory" and line["seed"] == 2
        assert line["groups"] == 23 and line["memory_limit_megabytes"] == 1024
        assert line["peak_megabytes"] >= line["peak_megabytes_after_writing"] > 50
    assert list(tmp_path.iterdir()) == []


def test_the_scores_are_those_that_were_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "new" / "folder"
    words = ["--rows", "5000", "--memory-megabytes", "256", "--folder", str(folder)]
    evaluation_memory.main(words)
    (line,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert line["memory_limit_megabytes"] == 256
    assert folder.is_dir() and not list(folder.iterdir())
    tables = list(synthetic_scores(5000, seed=1))
    assert sum(table.num_rows for table in tables) == 5000
    labels, scores = (
        [value for table in tables for value in table[name].to_pylist()]
        for name in ("label", "score")
    )
    assert line["auc"] == pytest.approx(roc_auc_score(labels, scores), rel=1e-3)
