from __future__ import annotations

import re

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.server import metrics
from serving.server.errors import RequestError, not_found
from tests.serving.deploy.metrics import METRICS


def samples(name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Labels -> value. Prometheus' parser ends the names of counters as its client does."""
    return {
        tuple(sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.metrics_text().decode())
        for sample in family.samples
        if sample.name in (name, f"{name}_total")
    }


def value(name: str, **labels: str) -> float:
    return samples(name).get(tuple(sorted(labels.items())), 0.0)


def test_every_metric_of_the_dashboard_is_declared_with_its_kind() -> None:
    text = metrics.metrics_text().decode()
    declared = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert declared == {name: metric.kind for name, metric in METRICS.items()}


def test_series_have_the_names_and_labels_of_tensorflow_serving() -> None:
    with metrics.counted_request("a", "Predict", "GRPC"), metrics.timed_model("a"):
        pass
    metrics.record_batch("pool", [0.001], [3], 4)
    for name, metric in METRICS.items():
        series = f"{name}_count" if metric.kind == "histogram" else name
        for labels in samples(series):
            assert {key for key, _ in labels} == set(metric.labels), name
    assert "_created" not in metrics.metrics_text().decode()


def test_an_answered_request_is_counted_and_timed() -> None:
    for entrypoint, api in (("GRPC", "Predict"), ("REST", "predict")):
        with metrics.counted_request("answered", "Predict", entrypoint):  # type: ignore[arg-type]
            pass
        latency = ":tensorflow:serving:request_latency_count"
        assert value(latency, model_name="answered", API=api, entrypoint=entrypoint) == 1
    count = ":tensorflow:serving:request_count"
    assert value(count, model_name="answered", status="OK") == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (not_found("by design"), "NOT_FOUND"),
        (RequestError(grpc.StatusCode.UNAVAILABLE, "by design"), "UNAVAILABLE"),
        (ZeroDivisionError("by design"), "INTERNAL"),
    ],
)
def test_a_failed_request_is_counted_by_its_status(error: Exception, status: str) -> None:
    with pytest.raises(type(error)), metrics.counted_request("failed", "Regress", "GRPC"):
        raise error
    assert value(":tensorflow:serving:request_count", model_name="failed", status=status) == 1
    latency = ":tensorflow:serving:request_latency_count"
    assert not [labels for labels in samples(latency) if ("model_name", "failed") in labels]


def test_the_time_in_the_model_has_the_operation_of_the_request() -> None:
    with metrics.counted_request("timed", "Classify", "REST"), metrics.timed_model("timed"):
        pass
    name = ":tensorflow:serving:runtime_latency_count"
    assert value(name, model_name="timed", API="Classify", runtime="TF2") == 1


def test_buckets_are_tensorflow_servings() -> None:
    with metrics.counted_request("buckets", "Predict", "GRPC"):
        pass
    bounds = [
        float(dict(labels)["le"])
        for labels in samples(":tensorflow:serving:request_latency_bucket")
        if ("model_name", "buckets") in labels
    ]
    assert len(bounds) == 34
    assert sorted(bounds)[:3] == pytest.approx([10, 18, 32.4])


def test_graph_runs_are_counted() -> None:
    before = value(":tensorflow:core:graph_runs")
    with metrics.timed_graph_run():
        pass
    assert value(":tensorflow:core:graph_runs") == before + 1


def test_a_batch_is_counted() -> None:
    batching = ":tensorflow:serving:batching_session:"
    names = ("processed_batch_size_sum", "input_batch_size_sum", "input_batch_size_count")
    before = [value(batching + name) for name in names]
    metrics.record_batch("mine", [0.5, 0.25], [1, 2], 8)
    after = [value(batching + name) for name in names]
    assert [new - old for old, new in zip(before, after, strict=True)] == [8, 3, 2]
    assert value(batching + "queuing_latency_sum", thread_pool_name="mine") == 750_000
    assert value(batching + "padding_size_sum", execution_batch_size="8") == 5
