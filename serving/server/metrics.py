"""The server's metrics for Prometheus, under TensorFlow Serving's names.

They count for the whole process, as in TensorFlow Serving, so a dashboard made for it
(`serving.deploy.dashboard`) shows this server as well. Times are in microseconds.
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

from serving.deploy import metrics as names
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


def _counter(name: str, description: str) -> Counter:
    return Counter(name, description, names.METRICS[name].labels, registry=_REGISTRY)


def _histogram(name: str, description: str, buckets: tuple[float, ...]) -> Histogram:
    labels = names.METRICS[name].labels
    return Histogram(name, description, labels, registry=_REGISTRY, buckets=buckets)


_requests = _counter(names.REQUEST_COUNT, "Requests by model and status.")
_request_latency = _histogram(
    names.REQUEST_LATENCY, "Time of requests that were answered.", _LATENCY_BUCKETS
)
_runtime_latency = _histogram(
    names.RUNTIME_LATENCY, "Time in the model, with the wait for a batch.", _LATENCY_BUCKETS
)
_warmup_latency = _histogram(
    names.WARMUP_LATENCY, "Time of replaying warm-up requests.", _LATENCY_BUCKETS
)
_queuing_latency = _histogram(names.QUEUING_LATENCY, "Wait for a batch.", _LATENCY_BUCKETS)
_processed_batch_size = _histogram(
    names.PROCESSED_BATCH_SIZE, "Rows that ran together, with those that fill up.", _SIZE_BUCKETS
)
_input_batch_size = _histogram(names.INPUT_BATCH_SIZE, "Rows of a request.", _SIZE_BUCKETS)
_padding_size = _histogram(names.PADDING_SIZE, "Rows that fill up a batch.", _SIZE_BUCKETS)
_load_attempts = _counter(names.LOAD_ATTEMPTS, "Loads of version folders by outcome.")
_load_latency = _counter(names.LOAD_LATENCY, "Time of loading version folders.")
_graph_runs = _counter(names.GRAPH_RUNS, "Runs of models.")
_graph_run_time = _counter(names.GRAPH_RUN_TIME, "Time of running models.")


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
