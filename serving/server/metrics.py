"""Requests, their time and loads for Prometheus, under TensorFlow Serving's names.

They count for the whole process, as in TensorFlow Serving, so a dashboard made for it
(`serving/deploy/template/grafana`) shows them of this server as well. Times are in microseconds.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Literal

import grpc
import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.server.errors import RequestError

METRICS_PATH = "/monitoring/prometheus/metrics"
METRICS_CONTENT_TYPE = "text/plain"

Operation = Literal["Predict", "Classify", "Regress", "MultiInference", ""]
Entrypoint = Literal["GRPC", "REST"]

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
    model_name: str, operation: Operation, entrypoint: Entrypoint
) -> Iterator[None]:
    """Counts a request and, when it is answered, its time, as TensorFlow Serving does.

    Args:
      model_name: of a model that is served, or one name for all others.
      operation: "" for requests that run no model: status and metadata over REST.
      entrypoint: the transport.
    """
    api = operation.lower() if entrypoint == "REST" else operation
    start = time.perf_counter()
    try:
        yield
    except RequestError as error:
        _requests.labels(model_name, error.code.name).inc()
        raise
    except Exception:
        _requests.labels(model_name, grpc.StatusCode.INTERNAL.name).inc()
        raise
    _requests.labels(model_name, "OK").inc()
    microseconds = (time.perf_counter() - start) * 1e6
    _request_latency.labels(model_name, api, entrypoint).observe(microseconds)


@contextlib.contextmanager
def counted_load(model_path: str) -> Iterator[None]:
    """Counts an attempt to load a version folder and its outcome."""
    status = "fail"
    try:
        yield
        status = "success"
    finally:
        _load_attempts.labels(model_path, status).inc()
