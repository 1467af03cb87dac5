from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import evaluation_memory
from benchmarks.evaluation_memory import synthetic_scores


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
    evaluation_memory.main(["--rows", "5000", "--memory-megabytes", "256"])
    (line,) = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert line["memory_limit_megabytes"] == 256
    tables = list(synthetic_scores(5000, seed=1))
    assert sum(table.num_rows for table in tables) == 5000
    labels, scores = (
        [value for table in tables for value in table[name].to_pylist()]
        for name in ("label", "score")
    )
    assert line["auc"] == pytest.approx(roc_auc_score(labels, scores), rel=1e-3)
