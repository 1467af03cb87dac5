"""Requests, their time and loads for Prometheus, under TensorFlow Serving's names, and their spans.

They count for the whole process, as in TensorFlow Serving, so a dashboard made for it
(`serving/deploy/template/grafana`) shows them of this server as well. Times are in microseconds.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Literal

import grpc
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram

from configs import tracing
from serving.server.errors import RequestError

METRICS_PATH = "/monitoring/prometheus/metrics"
METRICS_CONTENT_TYPE = "text/plain"

Operation = Literal["Predict", "Classify", "Regress", "MultiInference", ""]
Entrypoint = Literal["GRPC", "REST"]

# As OpenTelemetry's conventions for RPC count them; the others are the caller's.
_FAULTS_OF_THE_SERVER = {
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DATA_LOSS,
}
_LATENCY_BUCKETS = tuple(10 * 1.8**power for power in range(33))
# The client library ends the names of counters so; TensorFlow Serving does not.
_ENDING_OF_COUNTERS = re.compile(rb"^((?:# (?:HELP|TYPE) )?:tensorflow:[\w:]+)_total\b", re.M)

_REGISTRY = CollectorRegistry()

# TensorFlow Serving writes no series with the time at which a metric was made.
prometheus_client.disable_created_metrics()


def _counter(name: str, description: str, *labels: str) -> Counter:
    return Counter(name, description, labels, registry=_REGISTRY)


_requests = _counter(
    ":tensorflow:serving:request_count", "Requests by model and status.", "model_name", "status"
)
_request_latency = Histogram(
    ":tensorflow:serving:request_latency",
    "Time of requests that were answered.",
    ("model_name", "API", "entrypoint"),
    registry=_REGISTRY,
    buckets=_LATENCY_BUCKETS,
)
_load_attempts = _counter(
    ":tensorflow:cc:saved_model:load_attempt_count",
    "Loads of version folders by outcome.",
    "model_path",
    "status",
)


def metrics_text() -> bytes:
    """All metrics in Prometheus' text format."""
    return _ENDING_OF_COUNTERS.sub(rb"\1", prometheus_client.generate_latest(_REGISTRY))


@contextlib.contextmanager
def counted_request(
    model_name: str,
    operation: Operation,
    entrypoint: Entrypoint,
    headers: Iterable[tuple[str, str]] = (),
) -> Iterator[None]:
    """Counts a request and, when it is answered, its time, as TensorFlow Serving does.

    A request that runs a model is a span, too, where traces are asked for.

    Args:
      model_name: of a model that is served, or one name for all others.
      operation: "" for requests that run no model: status and metadata over REST.
      entrypoint: the transport.
      headers: of the request, or its metadata; they may make the span part of a trace.
    """
    api = operation.lower() if entrypoint == "REST" else operation
    start = time.perf_counter()
    with _span(model_name, operation, headers) as span:
        span.tell({"reki.model": model_name, "reki.entrypoint": entrypoint})
        try:
            yield
        except Exception as error:
            code = error.code if isinstance(error, RequestError) else grpc.StatusCode.INTERNAL
            _requests.labels(model_name, code.name).inc()
            span.tell({"reki.outcome": code.name})
            if code in _FAULTS_OF_THE_SERVER:
                span.fail(code.name)
            raise
        _requests.labels(model_name, "OK").inc()
        microseconds = (time.perf_counter() - start) * 1e6
        _request_latency.labels(model_name, api, entrypoint).observe(microseconds)
        span.tell({"reki.outcome": "OK"})


def _span(
    model_name: str, operation: Operation, headers: Iterable[tuple[str, str]]
) -> AbstractContextManager[tracing.Span]:
    if not operation:  # probes come every few seconds
        return contextlib.nullcontext(tracing.NO_SPAN)
    return tracing.span(f"{operation} {model_name}", "server", headers)


@contextlib.contextmanager
def counted_load(model_path: str) -> Iterator[None]:
    """Counts an attempt to load a version folder and its outcome."""
    status = "fail"
    try:
        yield
        status = "success"
    finally:
        _load_attempts.labels(model_path, status).inc()
