from __future__ import annotations

import json

import pytest

from benchmarks import export_tables


@pytest.mark.slow
@pytest.mark.parametrize("model", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_json_line_says_what_the_tables_cost(
    model: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--ids", "1000", "--id-types", "int64", *(["--model"] if model else [])]
    export_tables.main(words)
    (line,) = capfd.readouterr().out.splitlines()
    actual = json.loads(line)
    assert (actual["items"], actual["users"], actual["id_type"]) == (1000, 1000, "int64")
    # 2 tables of 1001 float16 vectors of 32 numbers.
    assert actual["megabytes"] > 2 * 1001 * 32 * 2 / 1e6
    # 17 bytes and more for each item and user: row, kind of answer, group, hash.
    assert (actual["refresh_parts_megabytes"] > 2 * 1001 * 17 / 1e6) == model
    assert actual["graph_megabytes"] < actual["megabytes"]
    times = [actual[f"milliseconds_{ids}"] for ids in ("1_id", "100_ids", "100_ids_p99")]
    assert min(*times, actual["load_seconds"]) > 0 and times[1] <= times[2]


@pytest.mark.slow
def test_a_served_model_is_replaced_under_load(capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--ids", "1000", "--id-types", "int64", "--model", "--swap"]
    export_tables.main([*words, "--rate", "5", "--swap-seconds", "30"])
    actual = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (actual["swaps"], actual["failed"], actual["items"]) == (1, 0, 1000)
    assert 0 < actual["answers_of_new_versions"] < actual["requests"]


def test_tables_alone_cannot_be_served(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        export_tables.main(["--swap"])
    assert "--swap needs --model" in capsys.readouterr().err
