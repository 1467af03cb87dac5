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


def test_metrics_have_the_kinds_that_the_dashboard_reads() -> None:
    text = metrics.metrics_text().decode()
    declared = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    assert declared == {name: METRICS[name].kind for name in declared}
    assert declared.keys() == {
        ":tensorflow:serving:request_count",
        ":tensorflow:serving:request_latency",
        ":tensorflow:cc:saved_model:load_attempt_count",
    }


def test_series_have_the_names_and_labels_of_tensorflow_serving() -> None:
    with metrics.counted_request("a", "Predict", "GRPC"), metrics.counted_load("folder"):
        pass
    for name in re.findall(r"^# TYPE (\S+)", metrics.metrics_text().decode(), re.MULTILINE):
        metric = METRICS[name]
        series = samples(f"{name}_count" if metric.kind == "histogram" else name)
        assert series, name
        for labels in series:
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
