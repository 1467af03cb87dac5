from __future__ import annotations

import json

import pytest

from benchmarks import augmented_dtypes
from tests.runs import written_run


@pytest.mark.slow
def test_every_number_format_is_a_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    augmented_dtypes.main([str(written_run().folder.path), "--samples", "20"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["number_format"] for line in lines] == ["float32", "float16", "int8"]
    differences = [line["largest_score_difference"] for line in lines]
    assert differences == sorted(differences)
    assert all(line["largest_score_difference"] <= line["allowed"] for line in lines)
    # The graph is larger than the tables of the tiny scenario.
    assert all(0.1 < line["megabytes"] < 5 for line in lines)
    assert {line["samples"] for line in lines} == {20}
    assert {line["metric"] for line in lines} == {"auc"}
    assert all(abs(line["cost"]) < 0.01 for line in lines)
