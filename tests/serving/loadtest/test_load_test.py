from __future__ import annotations

import csv
import json
import re
import socket
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from configs.command_line import CommandError
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from preprocessing.records.tfrecord_file import read_records, write_records
from serving.client import Tls
from serving.client.errors import ModelAddress
from serving.client.inputs import STRINGS_WITHOUT_PROFILE, ModelInputs
from serving.loadtest.load_test import (
    LoadTest,
    RateMeasurement,
    Schedule,
    find_limit,
    is_this_machine,
)
from serving.loadtest.report import latency_plot, measure_record, table, warnings, write_report
from serving.loadtest.requests import (
    requests_of_examples,
    requests_of_file,
    serialized_requests,
    synthetic_requests,
)
from serving.loadtest.summary import (
    Quantiles,
    latencies_with_failures,
    nearest_rank,
    summarise,
)
from serving.protocol.messages import predict_pb2
from tests.ports import free_ports
from tests.scenarios import CITIES, ITEMS, copied_scenario, rich_scenario
from tests.serving.loadtest.stalling import Stalling, serving
from tests.serving.loadtest.synthetic_calls import calls_of
from tests.serving.server.certificates import server_credentials, write_certificates
from tests.waiting import LONGEST_SECONDS


def load_test(target: str, schedule: Schedule, tls: Tls | None = None) -> LoadTest:
    source = synthetic_requests(users=10, items=20, count=3, seed=1)
    address = ModelAddress(target, "m")
    return LoadTest(address, STRINGS_WITHOUT_PROFILE, source, "rank", schedule, tls)


def even(seconds: float, warmup_seconds: float = 0.0) -> Schedule:
    return Schedule(
        arrivals="even",
        seconds=seconds,
        warmup_seconds=warmup_seconds,
        in_flight=64,
        timeout_seconds=LONGEST_SECONDS,
        seed=1,
    )


def test_every_rate_is_measured_with_its_own_schedule() -> None:
    service = Stalling()
    schedule = even(0.5, 0.25)
    with serving(service) as target:
        measures = load_test(target, schedule).measure(2, [20.0, 40.0])
    assert [measure.rate for measure in measures] == [20.0, 40.0]
    assert [len(measure.calls.due) for measure in measures] == [15, 30]
    assert [measure.summary.requests for measure in measures] == [10, 20]
    assert [measure.summary.versions for measure in measures] == [{"5": 10}, {"5": 20}]
    # All three distinct requests take turns.
    users = [request.inputs["user_id"].string_val[0] for request in service.requests]
    assert len(set(users)) >= 2 and users[:3] == users[3:6]


def test_an_encrypted_server_gets_the_certificates(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    schedule = even(0.5)
    tls = Tls(tmp_path / "authority.pem", tmp_path / "client.pem", tmp_path / "client.key")
    with serving(Stalling(), server_credentials(tmp_path)) as target:
        (measure,) = load_test(target, schedule, tls).measure(1, [20.0])
    assert (measure.summary.answered, measure.summary.failed) == (10, {})


def test_a_limit_is_exceeded_where_the_server_falls_behind() -> None:
    # One request at a time, 20 ms each. Request k is due at 10 k ms and cannot be answered before
    # 20 (k + 1) ms: the 99th of 100 takes at least 1,000 ms.
    service = Stalling(dict.fromkeys(range(1000), 0.02))
    schedule = even(1.0)
    told: list[RateMeasurement] = []
    with serving(service) as target:
        limit, measures = load_test(target, schedule).find_limit(2, 500.0, 400.0, told.append)
    # A p99 needs 100 requests, so that fewer a second are not tried.
    assert (limit.rate, limit.exceeded) == (0.0, 100.0)
    assert told == measures and {measure.rate for measure in measures} == {100.0}
    for measure in measures:
        assert measure.summary.latency_ms.p99 >= 998


def test_a_limit_that_every_rate_keeps_is_not_found() -> None:
    schedule = even(0.5)
    with serving(Stalling()) as target:
        limit, measures = load_test(target, schedule).find_limit(
            2, 1000 * LONGEST_SECONDS, 300.0, progress=lambda measure: None
        )
    assert (limit.rate, limit.exceeded) == (300.0, None)
    assert [measure.rate for measure in measures] == [200.0, 300.0]


def test_a_server_that_answers_nothing_keeps_no_limit() -> None:
    with free_ports(1) as (port,):
        test = load_test(f"127.0.0.1:{port}", even(0.5))
        limit, measures = test.find_limit(
            2, 1000 * LONGEST_SECONDS, 300.0, progress=lambda measure: None
        )
    assert (limit.rate, limit.exceeded) == (0.0, 200.0)
    assert [measure.summary.answered for measure in measures] == [0] * len(measures)


def test_the_own_machine_is_known() -> None:
    assert is_this_machine("127.0.0.1", 8500)
    assert is_this_machine("localhost", 1)
    assert not is_this_machine("no-such-host.invalid", 1)
    assert is_this_machine(socket.gethostbyname("localhost"), 2)


@pytest.mark.parametrize("address", ["192.0.2.7", "203.0.113.9"])
def test_another_machine_is_another_machine(address: str) -> None:
    assert not is_this_machine(address, 8500)


@pytest.mark.parametrize("true_limit", [12.0, 37.0, 100.0, 777.0])
@pytest.mark.parametrize("first", [1.0, 50.0, 900.0])
def test_the_limit_is_found_within_the_precision(true_limit: float, first: float) -> None:
    actual = find_limit(lambda rate: rate <= true_limit, first, 1.0, 10_000.0, precision=0.1)
    assert actual.exceeded is not None
    assert actual.rate <= true_limit < actual.exceeded <= actual.rate * 1.1
    assert all(step.kept == (step.rate <= true_limit) for step in actual.steps)
    assert len(actual.steps) < 20


def test_a_server_that_keeps_every_rate_has_no_limit_found() -> None:
    actual = find_limit(lambda rate: True, 20.0, 1.0, 100.0)
    assert (actual.rate, actual.exceeded) == (100.0, None)
    assert [step.rate for step in actual.steps] == [20.0, 40.0, 80.0, 100.0]


def test_a_server_that_keeps_no_rate_ends_at_the_lowest() -> None:
    actual = find_limit(lambda rate: False, 40.0, 15.0, 100.0)
    assert (actual.rate, actual.exceeded) == (0.0, 15.0)
    assert [step.rate for step in actual.steps] == [40.0, 20.0, 15.0]


def test_the_first_rate_is_within_the_bounds() -> None:
    assert find_limit(lambda rate: False, 1.0, 15.0, 100.0).steps[0].rate == 15.0
    assert find_limit(lambda rate: True, 900.0, 15.0, 100.0).steps[0].rate == 100.0


SOURCE = synthetic_requests(users=10, items=20, count=3, seed=1)
ADDRESS = ModelAddress("h:1", "movies", None, "stable")


def parsed(signature: str, known: ModelInputs = STRINGS_WITHOUT_PROFILE, seed: int = 1) -> list:
    requests = serialized_requests(ADDRESS, known, SOURCE, signature, 4, seed)
    return [predict_pb2.PredictRequest.FromString(request) for request in requests]


def test_a_signature_of_rows_gets_the_same_candidates_with_the_user_repeated() -> None:
    ranked, rows = parsed("rank"), parsed("serving_default")
    assert len(ranked) == len(rows) == 3
    for one, other, user in zip(ranked, rows, SOURCE.users, strict=True):
        assert one.model_spec.version_label == other.model_spec.version_label == "stable"
        assert one.model_spec.signature_name == "rank"
        assert other.model_spec.signature_name == "serving_default"
        items = tf.make_ndarray(one.inputs["item_id"]).tolist()
        assert len(set(items)) == 4
        assert tf.make_ndarray(other.inputs["item_id"]).tolist() == items
        assert tf.make_ndarray(one.inputs["user_id"]).tolist() == [user.user_id.encode()]
        assert tf.make_ndarray(other.inputs["user_id"]).tolist() == [user.user_id.encode()] * 4
        assert tf.make_ndarray(other.inputs["history_rating"]).shape == (4, 30)


def test_candidates_follow_the_seed() -> None:
    assert parsed("rank") == parsed("rank")
    assert parsed("rank") != parsed("rank", seed=2)


def test_whole_numbers_are_sent_where_the_model_has_them() -> None:
    (request, *_) = parsed("rank", ModelInputs(integers=frozenset({"item_id"})))
    assert tf.make_ndarray(request.inputs["item_id"]).dtype == "int64"


def test_requests_of_a_file_keep_their_candidates(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    lines = [
        {"user_id": 7, "candidates": ["a", "b"], "history_item_id": ["h"], "history_rating": [4]},
        {"user_id": "8"},
    ]
    path.write_text("\n\n".join(json.dumps(line) for line in lines) + "\n")
    source = requests_of_file(str(path), positive_rating=4.0)
    assert [user.user_id for user in source.users] == ["7", "8"]
    assert source.users[0].user_mean_rating == 4.0
    assert source.users[0].user_share_liked == 1.0
    strict = requests_of_file(str(path), positive_rating=4.5)
    assert strict.users[0].user_share_liked == 0.0
    generator = np.random.default_rng(0)
    assert source.candidates_of(0, 1, generator) == ["a"]
    filled = source.candidates_of(0, 4, generator)
    assert filled[:2] == ["a", "b"] and set(filled[2:]) <= {"a", "b", "h"}
    # More than there are: items repeat.
    assert len(source.candidates_of(1, 50, generator)) == 50


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"user_id": 1, "candidates": ["a"]}\n{', "line 2: "),
        ('{"user_id": 1, "candidates": ["a"]}\n{"user": 1}', "line 2: field 'user' is not known"),
        ('{"user_id": 1}', "no request names an item"),
        ("", "no request names an item"),
        ('{"user_id": 1, "candidates": ["caf\xe9"]}', "line 1: .*can't decode byte 0xe9"),
    ],
)
def test_a_malformed_file_is_named_with_its_line(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(CommandError, match=f"requests.jsonl.*{reason}"):
        requests_of_file(str(path), positive_rating=4.0)


def test_a_line_ends_with_a_line_feed_alone(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    lines = ('{"user_id": "a\u2028b", "candidates": ["x\x85"]}', '{"user_id": "c"}')
    path.write_bytes("\r\n".join(lines).encode())
    source = requests_of_file(str(path), positive_rating=None)
    assert [user.user_id for user in source.users] == ["a\u2028b", "c"]
    assert source.items == ["x\x85"]


def test_users_of_examples_are_as_at_their_first_sample() -> None:
    scenario = rich_scenario()
    source = requests_of_examples(str(scenario.work_dir), count=4)
    shards = WorkDirectory(scenario.work_dir).examples.shards("test")
    (batch,) = example_dataset(shards, 100_000).take(1)
    expected: dict[str, int] = {}
    for row, user in enumerate(batch["user_id"].numpy()):
        expected.setdefault(user.decode(), row)
    assert [user.user_id for user in source.users] == list(expected)[:4]
    for user in source.users:
        row = expected[str(user.user_id)]
        history = [item.decode() for item in batch["history_item_id"].numpy()[row] if item]
        assert list(user.history_item_id) == history
        ratings = batch["history_rating"].numpy()[row][: len(history)]
        np.testing.assert_array_equal(np.float32(user.history_rating), ratings)
        assert np.float32(user.user_log_count) == batch["user_log_count"].numpy()[row]
        assert set(user.profile) <= {"city", "age"}
        assert set(user.profile.get("city", [])) <= set(CITIES) | {"Atlantis"}
    assert any(user.profile for user in source.users)
    assert set(ITEMS) <= set(source.items)
    drawn = source.candidates_of(0, len(source.items), np.random.default_rng(1))
    assert sorted(drawn) == sorted(source.items)


def test_a_run_leads_to_its_examples(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no TFRecord files"):
        requests_of_examples(str(tmp_path), count=2)
    scenario = rich_scenario()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(scenario.model_dump(mode="json")))
    run_requests = requests_of_examples(str(tmp_path), count=2)
    assert run_requests.users == requests_of_examples(str(scenario.work_dir), count=2).users


def test_made_up_requests_stay_within_their_ids() -> None:
    source = synthetic_requests(users=3, items=5, count=50, seed=1)
    assert {user.user_id for user in source.users} == {"1", "2", "3"}
    named = {item for user in source.users for item in user.history_item_id}
    assert named == {"1", "2", "3", "4", "5"}
    assert sorted(source.candidates_of(0, 5, np.random.default_rng(0))) == [1, 2, 3, 4, 5]
    assert synthetic_requests(3, 5, 50, seed=1) == source
    assert synthetic_requests(3, 5, 50, seed=2).users != source.users


@pytest.mark.parametrize("damaged", [b"\xff\xff\xff", b""])
def test_a_record_that_no_request_can_be_made_from_is_named(tmp_path: Path, damaged: bytes) -> None:
    work_dir = copied_scenario(tmp_path).work_dir
    shard = WorkDirectory(work_dir).examples.shards("test")[0]
    write_records(shard, [next(iter(read_records(shard))), damaged])
    with pytest.raises(CommandError, match=f"{shard}: record 2: not an example"):
        requests_of_examples(work_dir, count=2)


def measure(candidates: int, rate: float, lag: float = 0.0, held: bool = False) -> RateMeasurement:
    due = np.arange(100) / rate
    calls = calls_of(
        due.tolist(),
        (due + lag).tolist(),
        (due + lag + 0.01).tolist(),
        codes=[0] * 99 + [4],
        held=[held] * 100,
    )
    return RateMeasurement(candidates, rate, summarise(calls, 0.0, 100 / rate, 1.0), calls)


def test_the_table_marks_what_the_generator_may_have_set() -> None:
    header, good, bad = table([measure(1, 10.0), measure(100, 20.0, lag=0.5)])
    assert header.split()[:2] == ["candidates", "rate/s"]
    assert good.split() == ["1", "10", "9.9", "10", "10", "10", "1000", "1"]
    assert bad.split()[-2:] == ["1", "!"]


def test_what_a_reader_must_know_is_said() -> None:
    assert warnings([measure(1, 10.0)], same_machine=False) == []
    (shared,) = warnings([measure(1, 10.0)], same_machine=True)
    assert "share this machine" in shared
    (slow,) = warnings([measure(100, 20.0, lag=0.5)], same_machine=False)
    assert "100 candidates at 20/s: do not use this measure" in slow
    (held,) = warnings([measure(1, 10.0, held=True)], same_machine=False)
    assert "100 requests waited" in held


def test_a_report_has_every_request(tmp_path: Path) -> None:
    measures = [measure(1, 10.0), measure(100, 20.0), measure(100, 40.0)]
    result = {"measures": [measure_record(each) for each in measures]}
    write_report(tmp_path / "load", result, measures, warmup_seconds=1.0, timeout_seconds=1.0)
    assert json.loads((tmp_path / "load" / "results.json").read_text()) == result
    assert result["measures"][0]["latency_ms"]["p50"] == 10.0
    with (tmp_path / "load" / "latencies.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 300
    assert [row["warmup"] for row in rows[9:11]] == ["1", "0"]
    assert rows[0]["latency_ms"] == "10.000"
    assert rows[99]["status_code"] == "4"
    plot = ElementTree.parse(tmp_path / "load" / "latency.svg").getroot()
    assert plot.tag.endswith("svg")
    # Two curves of quantiles, and three lines for each number of candidates.
    lines = [group for group in plot.iter() if group.get("id", "").startswith("line2d")]
    assert len(lines) > 8


_SVG = "{http://www.w3.org/2000/svg}"
_FIRST_COLOUR = "#0072b2"
_GRID_COLOUR = "#e0e3e7"
_LEGEND_HEIGHT = 30.0


def answered_measure(
    candidates: int, rate: float, latency: float, count: int = 200
) -> RateMeasurement:
    due = np.arange(count) / rate
    calls = calls_of(due.tolist(), due.tolist(), (due + latency).tolist())
    return RateMeasurement(candidates, rate, summarise(calls, 0.0, count / rate, 1.0), calls)


def curves(svg: str, colour: str) -> list[np.ndarray]:
    """Points [points, 2] of curves and lines of a colour below the legend, as they are drawn."""
    collected = []
    for path in ElementTree.fromstring(svg).iter(f"{_SVG}path"):
        style, places = path.get("style") or "", re.findall(r"[-\d.]+", path.get("d") or "")
        if f"stroke: {colour}" in style and "fill: none" in style and len(places) > 2:
            points = np.array(places, float).reshape(-1, 2)
            if points[0, 1] > _LEGEND_HEIGHT:
                collected.append(points)
    return collected


def test_the_same_measures_give_the_same_text() -> None:
    measures = [
        answered_measure(1, 10.0, 0.01),
        answered_measure(1, 20.0, 0.02),
        answered_measure(100, 10.0, 0.05),
    ]
    plot = latency_plot(measures, warmup_seconds=0.0, timeout_seconds=1.0)
    assert plot == latency_plot(measures, warmup_seconds=0.0, timeout_seconds=1.0)
    for label in ("1 candidates", "100 candidates", "deadline"):
        assert f"<!-- {label} -->" in plot


def test_rates_go_up_from_left_to_right_in_whatever_order_they_were_measured() -> None:
    measures = [answered_measure(1, rate, latency) for rate, latency in ((40.0, 0.4), (10.0, 0.1))]
    _, *rate_curves = curves(latency_plot(measures, 0.0, 1.0), _FIRST_COLOUR)
    assert len(rate_curves) == 3  # p50, p95 and p99
    for (left, low), (right, high) in rate_curves:
        # In SVG higher is less.
        assert left < right and high < low


@pytest.mark.parametrize(("count", "between"), [(50, (2, 3)), (500, (3, 4))])
def test_no_quantile_is_drawn_that_so_many_requests_cannot_show(
    count: int, between: tuple[int, int]
) -> None:
    plot = latency_plot([answered_measure(1, 10.0, 0.1, count)], 0.0, 1.0)
    # Lines at 0, 50, 90, 99 and 99.9 %. 50 requests show 98 %, and 500 show 99.8 %.
    labelled = [points[0, 0] for points in curves(plot, _GRID_COLOUR)][:5]
    (quantiles,) = curves(plot, _FIRST_COLOUR)
    assert labelled == sorted(labelled)
    assert labelled[between[0]] < quantiles[-1, 0] < labelled[between[1]]


def test_requests_of_the_warm_up_are_not_drawn() -> None:
    # The last of the 200 requests is due after 2 s, and after 20 s.
    measures = [answered_measure(1, 100.0, 0.01), answered_measure(100, 10.0, 0.01)]
    plot = latency_plot(measures, warmup_seconds=5.0, timeout_seconds=1.0)
    assert curves(plot, _FIRST_COLOUR) == []
    assert len(curves(plot, "#d55e00")) == 1


def test_quantiles_are_times_that_were_measured() -> None:
    # Nearest rank: the smallest time that at least the share of all times does not exceed.
    actual = Quantiles.of_seconds(np.arange(1, 201) / 1000)
    assert actual == Quantiles(p50=100, p95=190, p99=198, max=200)
    assert nearest_rank(np.array([3.0, 1.0, 2.0]), 2 / 3) == 2.0
    assert nearest_rank(np.array([3.0, 1.0, 2.0]), 0.7) == 3.0
    assert Quantiles.of_seconds(np.array([0.007])) == Quantiles(7, 7, 7, 7)
    assert Quantiles.of_seconds(np.zeros(0)) == Quantiles(0, 0, 0, 0)


def test_warmup_is_left_out_and_failures_count_as_the_deadline() -> None:
    calls = calls_of(
        due=[0.0, 1.0, 2.0, 3.0, 4.0],
        sent=[0.0, 1.0, 2.0, 3.5, 4.0],
        finished=[9.0, 1.1, 2.02, 4.2, 4.01],
        codes=[0, 0, 14, 0, 4],
        versions=[1, 1, 0, 2, 0],
        held=[False, False, False, True, False],
    )
    summary = summarise(calls, warmup_seconds=1.0, seconds=4.0, timeout_seconds=0.5)
    assert (summary.requests, summary.answered) == (4, 2)
    assert summary.failed == {"UNAVAILABLE": 1, "DEADLINE_EXCEEDED": 1}
    assert (summary.late_answers, summary.held) == (1, 1)
    assert summary.versions == {"1": 1, "2": 1}
    assert summary.throughput == pytest.approx(2 / 4)
    # 100 ms; a failure, 500; 1,200 from when it was due; a failure, 500.
    assert summary.latency_ms == Quantiles(p50=500, p95=1200, p99=1200, max=1200)
    assert summary.answer_ms.max == pytest.approx(700)
    counted = calls.selected(calls.due >= 1.0)
    np.testing.assert_allclose(latencies_with_failures(counted, 0.5), [0.1, 0.5, 1.2, 0.5])


def test_throughput_counts_until_the_last_answer_of_a_server_that_falls_behind() -> None:
    calls = calls_of(due=[1.0, 2.0], sent=[1.0, 2.0], finished=[2.0, 9.0])
    assert summarise(calls, 1.0, 2.0, 60.0).throughput == pytest.approx(2 / 8)


def evenly(lag: float, latency: float, **options: object):
    due = np.arange(200) / 100
    return calls_of(due.tolist(), (due + lag).tolist(), (due + latency).tolist(), **options)


@pytest.mark.parametrize(
    ("lag", "latency", "options", "reason"),
    [
        (0.0009, 0.002, {}, ""),
        (0.004, 0.050, {}, ""),
        (0.006, 0.050, {}, "sent requests 6 ms late"),
        (0.0, 0.002, {"loop_lags": (0.03,) * 50}, "noticed answers 30 ms late"),
        (0.0, 0.002, {"processor_seconds": 9.5}, "used 95%"),
        (0.02, 0.050, {"held": [True] * 200}, ""),
    ],
)
def test_a_generator_that_is_too_slow_is_found_out(
    lag: float, latency: float, options: dict[str, object], reason: str
) -> None:
    summary = summarise(evenly(lag, latency, **options), 0.0, 2.0, 1.0)
    assert (reason in summary.generator_too_slow) if reason else not summary.generator_too_slow


def test_no_requests_are_no_reason_to_fail() -> None:
    summary = summarise(calls_of([], [], []), 0.0, 1.0, 1.0)
    assert (summary.requests, summary.throughput, summary.generator_too_slow) == (0, 0.0, "")
