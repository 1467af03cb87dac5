"""The server's metrics for Prometheus, under TensorFlow Serving's names.

They count for the whole process, as in TensorFlow Serving, so a dashboard made for it
(`serving/deploy/template/grafana`) shows this server as well. Times are in microseconds.
"""

from __future__ import annotations

import contextlib
import contextvars
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

_RUNTIME = "TF2"
_LATENCY_BUCKETS = tuple(10 * 1.8**power for power in range(33))
_SIZE_BUCKETS = tuple(2.0**power for power in range(20))
# The client library ends the names of counters so; TensorFlow Serving does not.
_ENDING_OF_COUNTERS = re.compile(rb"^((?:# (?:HELP|TYPE) )?:tensorflow:[\w:]+)_total\b", re.M)

_REGISTRY = CollectorRegistry()
_operation: contextvars.ContextVar[str] = contextvars.ContextVar("operation", default="")

# TensorFlow Serving writes no series with the time at which a metric was made.
prometheus_client.disable_created_metrics()


def _counter(name: str, description: str, *labels: str) -> Counter:
    return Counter(name, description, labels, registry=_REGISTRY)


def _histogram(
    name: str, description: str, *labels: str, buckets: tuple[float, ...] = _LATENCY_BUCKETS
) -> Histogram:
    return Histogram(name, description, labels, registry=_REGISTRY, buckets=buckets)


_requests = _counter(
    ":tensorflow:serving:request_count", "Requests by model and status.", "model_name", "status"
)
_request_latency = _histogram(
    ":tensorflow:serving:request_latency",
    "Time of requests that were answered.",
    "model_name",
    "API",
    "entrypoint",
)
_runtime_latency = _histogram(
    ":tensorflow:serving:runtime_latency",
    "Time in the model, with the wait for a batch.",
    "model_name",
    "API",
    "runtime",
)
_warmup_latency = _histogram(
    ":tensorflow:serving:model_warmup_latency",
    "Time of replaying warm-up requests.",
    "model_path",
    "status",
)
_queuing_latency = _histogram(
    ":tensorflow:serving:batching_session:queuing_latency", "Wait for a batch.", "thread_pool_name"
)
_processed_batch_size = _histogram(
    ":tensorflow:serving:batching_session:processed_batch_size",
    "Rows that ran together, with those that fill up.",
    buckets=_SIZE_BUCKETS,
)
_input_batch_size = _histogram(
    ":tensorflow:serving:batching_session:input_batch_size",
    "Rows of a request.",
    buckets=_SIZE_BUCKETS,
)
_padding_size = _histogram(
    ":tensorflow:serving:batching_session:padding_size",
    "Rows that fill up a batch.",
    "execution_batch_size",
    buckets=_SIZE_BUCKETS,
)
_load_attempts = _counter(
    ":tensorflow:cc:saved_model:load_attempt_count",
    "Loads of version folders by outcome.",
    "model_path",
    "status",
)
_load_latency = _counter(
    ":tensorflow:cc:saved_model:load_latency", "Time of loading version folders.", "model_path"
)
_graph_runs = _counter(":tensorflow:core:graph_runs", "Runs of models.")
_graph_run_time = _counter(":tensorflow:core:graph_run_time_usecs", "Time of running models.")


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
    token = _operation.set(operation)
    start = time.perf_counter()
    try:
        yield
    except RequestError as error:
        _requests.labels(model_name, error.code.name).inc()
        raise
    except Exception:
        _requests.labels(model_name, grpc.StatusCode.INTERNAL.name).inc()
        raise
    finally:
        _operation.reset(token)
    _requests.labels(model_name, "OK").inc()
    _request_latency.labels(model_name, api, entrypoint).observe(_microseconds_since(start))


@contextlib.contextmanager
def timed_model(model_name: str) -> Iterator[None]:
    """Counts the time a request spends in its model, with the wait for a batch."""
    start = time.perf_counter()
    yield
    microseconds = _microseconds_since(start)
    _runtime_latency.labels(model_name, _operation.get(), _RUNTIME).observe(microseconds)


@contextlib.contextmanager
def timed_graph_run() -> Iterator[None]:
    """Counts one run of a model and its time."""
    start = time.perf_counter()
    yield
    _graph_runs.inc()
    _graph_run_time.inc(_microseconds_since(start))


@contextlib.contextmanager
def counted_load(model_path: str) -> Iterator[None]:
    """Counts an attempt to load a version folder, its outcome and its time."""
    start = time.perf_counter()
    status = "fail"
    try:
        yield
        status = "success"
    finally:
        _load_attempts.labels(model_path, status).inc()
        _load_latency.labels(model_path).inc(_microseconds_since(start))


@contextlib.contextmanager
def timed_warmup(model_path: str) -> Iterator[None]:
    """Counts the time of replaying a version's warm-up requests."""
    start = time.perf_counter()
    status = "fail"
    try:
        yield
        status = "success"
    finally:
        _warmup_latency.labels(model_path, status).observe(_microseconds_since(start))


def record_batch(thread_pool_name: str, waits: list[float], rows: list[int], size: int) -> None:
    """Counts a batch.

    Args:
      thread_pool_name: of the batching parameters.
      waits: seconds that each of its requests waited.
      rows: rows of each of its requests.
      size: rows that run, with those that fill up.
    """
    for wait, one in zip(waits, rows, strict=True):
        _queuing_latency.labels(thread_pool_name).observe(wait * 1e6)
        _input_batch_size.observe(one)
    _processed_batch_size.observe(size)
    _padding_size.labels(str(size)).observe(size - sum(rows))


def _microseconds_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e6
