from __future__ import annotations

import argparse
import json

import numpy as np
import pytest

from benchmarks import export_tables, refresh
from benchmarks.hot_swap import summarise_swaps
from benchmarks.paired_ratios import p50, p99, per_second, ratio_of
from benchmarks.serving_latency import taking_turns
from tests.serving.loadtest.synthetic_calls import calls_of


def test_seconds_of_swaps_are_compared_with_quiet_time() -> None:
    # 100 requests a second of 10 ms. Two versions load for three seconds; then requests take 30 and
    # 50 ms, and 15 ms in the second around the first answer.
    due = np.arange(0, 40, 0.01)
    latency = np.full(len(due), 0.010)
    for published, slow in ((10.0, 0.030), (25.0, 0.050)):
        latency[(due >= published) & (due < published + 2.0)] = slow
        latency[(due >= published + 2.4) & (due < published + 3.6)] = 0.015
    latency[:100] = 0.2  # of the warm-up
    finished = due + latency
    versions = np.select([finished >= 28.0, finished >= 13.0], [3, 2], 1)
    codes = np.zeros(len(due), int)
    codes[5] = 14
    calls = calls_of(
        due.tolist(),
        due.tolist(),
        finished.tolist(),
        codes=codes.tolist(),
        versions=versions.tolist(),
    )
    actual = summarise_swaps(calls, 1.0, [10.0, 25.0])
    assert (actual["requests"], actual["failed"], actual["swaps"]) == (4000, 1, 2)
    assert actual["answers_of_new_versions"] == (versions > 1).sum()
    assert actual["p99_quiet_ms"] == pytest.approx(10)
    assert actual["p99_swap_seconds_ms"] == pytest.approx(15)
    assert actual["p99_worst_second_ms"] == pytest.approx(40)
    assert actual["swap_ratio"] == pytest.approx(1.5)
    assert actual["worst_second_ratio"] == pytest.approx(4.0)
    assert actual["worst_second_of_all_ratio"] == pytest.approx(5.0)
    assert actual["seconds_until_new_version"] == pytest.approx(3.0, abs=0.02)


def test_a_version_that_never_answers_is_no_result() -> None:
    with pytest.raises(SystemExit, match="version 2 never answered"):
        summarise_swaps(calls_of([1.0], [1.0], [1.1]), 0.0, [0.5])


@pytest.mark.slow
def test_export_and_refresh_are_a_json_line_each(capfd: pytest.CaptureFixture[str]) -> None:
    refresh.main(["--items", "2000", "--changed", "0.05", "--dimension", "16"])
    export, refreshed = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert export["benchmark"] == "refresh_parts_of_export"
    assert export["version_megabytes"] > export["refresh_parts_megabytes"] > 0
    assert refreshed["benchmark"] == "refresh"
    # 100 answers, 5 of them about new items.
    assert (refreshed["changed_rows"], refreshed["new_items"]) == (100, 5)
    assert refreshed["peak_megabytes"] > 50


def test_programs_take_turns_in_an_order_that_rotates() -> None:
    arguments = argparse.Namespace(rate=10.0, turn_seconds=0.2, rounds=2, users=3)
    phase, rounds = taking_turns(2, arguments)
    np.testing.assert_allclose(phase.due, np.arange(12) / 10)
    assert rounds.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    programs = phase.requests // 3
    assert programs.tolist() == [0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1]
    # In a round both programs get the same users.
    assert (phase.requests % 3).tolist() == [0, 1, 0, 1, 2, 0, 2, 0, 1, 2, 1, 2]


def turns(generator: np.random.Generator, scale: float, noise: np.ndarray) -> list[np.ndarray]:
    return [scale * turn * generator.uniform(0.9, 1.1, 50) for turn in noise]


def test_noise_that_turns_share_hardly_widens_the_interval() -> None:
    generator = np.random.default_rng(0)
    # Some turns are ten times as slow, for both programs.
    noise = np.where(generator.uniform(size=60) < 0.2, 10.0, 1.0)
    base, own = turns(generator, 1.0, noise), turns(generator, 1.3, noise)
    ratio = ratio_of(own, base, p50, seed=1)
    assert ratio.low <= 1.3 <= ratio.high
    assert ratio.value == pytest.approx(1.3, rel=0.03)
    assert ratio.high - ratio.low < 0.1
    assert ratio_of(base, base, p99, seed=1).value == 1.0


def test_statistics() -> None:
    times = np.arange(1, 201) / 1000
    assert (p50(times), p99(times)) == (0.1, 0.198)
    assert per_second(np.array([0.1, 0.3])) == pytest.approx(5.0)


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
