from __future__ import annotations

import json
import re
from collections.abc import Iterator

import grpc
import pytest
import requests
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families

from configs.tracing import spans_recorded
from serving.protocol.messages import prediction_service_pb2_grpc
from serving.server import LocalServer, metrics
from serving.server.errors import RequestError, not_found
from tests.serving.deploy.metrics import METRICS
from tests.serving.server.numbered_model import add_request, put_numbered_model
from tests.waiting import LONGEST_SECONDS as SECONDS


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


TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    base = tmp_path_factory.mktemp("models") / "numbered"
    put_numbered_model(base, 4)
    with LocalServer({"numbered": base}) as started:
        yield started


@pytest.fixture
def recorded() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with spans_recorded("test", SimpleSpanProcessor(exporter)):
        yield exporter


def is_part_of_the_callers_trace(span: ReadableSpan) -> bool:
    assert span.context is not None and span.parent is not None
    return (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)


def test_a_served_request_is_a_span_of_its_callers_trace(
    server: LocalServer, recorded: InMemorySpanExporter
) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        stub.Predict(add_request([1.5, 2.5, 3.5]), SECONDS, metadata=tuple(HEADERS.items()))
    address = f"http://127.0.0.1:{server.rest_port}/v1/models/numbered"
    answer = requests.post(
        f"{address}:predict", json={"instances": [1.5, 2.5]}, headers=HEADERS, timeout=SECONDS
    )
    assert answer.status_code == 200
    by_grpc, by_rest = recorded.get_finished_spans()
    for span, entrypoint, rows in ((by_grpc, "GRPC", 3), (by_rest, "REST", 2)):
        assert (span.name, span.kind) == ("Predict numbered", SpanKind.SERVER)
        assert is_part_of_the_callers_trace(span)
        assert span.attributes == {
            "reki.model": "numbered",
            "reki.model.version": 4,
            "reki.signature": "serving_default",
            "reki.batch_size": rows,
            "reki.entrypoint": entrypoint,
            "reki.outcome": "OK",
        }
        assert span.status.status_code is StatusCode.UNSET
        assert "1.5" not in json.dumps(dict(span.attributes))


def test_wrong_requests_are_told_and_are_no_fault_of_the_server(
    server: LocalServer, recorded: InMemorySpanExporter
) -> None:
    address = f"http://127.0.0.1:{server.rest_port}/v1/models"
    for url, document in (
        (f"{address}/numbered:predict", {"instances": "private text"}),
        (f"{address}/numbered/versions/9:predict", {"instances": [1.0]}),
        (f"{address}/private-name:predict", {"instances": [1.0]}),
    ):
        assert requests.post(url, json=document, timeout=SECONDS).status_code in (400, 404)
    spans = recorded.get_finished_spans()
    told = [
        (span.name, span.attributes["reki.outcome"])
        for span in spans
        if span.attributes is not None
    ]
    assert told == [
        ("Predict numbered", "INVALID_ARGUMENT"),
        ("Predict numbered", "NOT_FOUND"),
        ("Predict unknown model", "NOT_FOUND"),
    ]
    assert all(span.status.status_code is StatusCode.UNSET for span in spans)
    assert "private" not in "".join(span.to_json() for span in spans)


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (RequestError(grpc.StatusCode.UNAVAILABLE, "by design"), "UNAVAILABLE"),
        (ZeroDivisionError("by design"), "INTERNAL"),
    ],
)
def test_faults_of_the_server_are_errors(
    error: Exception, outcome: str, recorded: InMemorySpanExporter
) -> None:
    with pytest.raises(type(error)), metrics.counted_request("m", "Regress", "GRPC"):
        raise error
    (span,) = recorded.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.attributes is not None and span.attributes["error.type"] == outcome
    assert "by design" not in span.to_json()


def test_probes_and_metrics_are_no_spans(
    server: LocalServer, recorded: InMemorySpanExporter
) -> None:
    address = f"http://127.0.0.1:{server.rest_port}"
    for path in ("/v1/models/numbered", "/v1/models/numbered/metadata", metrics.METRICS_PATH):
        assert requests.get(address + path, timeout=SECONDS).status_code == 200
    assert recorded.get_finished_spans() == ()
