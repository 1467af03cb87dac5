"""TensorFlow Serving's metrics that are worth watching, as Prometheus reads them.

Names and labels are those of the server's sources (`servables/tensorflow/util.cc`,
`batching/batching_util.h`, `core/common_runtime/metrics.cc`, `cc/saved_model/loader.cc`), with ":"
for "/" as its exporter writes them. All times are in microseconds. No metric tells versions of one
model apart, except those of loading.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """One metric.

    Attributes:
      kind: a histogram has the series `_bucket`, `_sum` and `_count`.
      labels: its labels, beside `le` of buckets and those that Prometheus adds.
    """

    kind: Literal["counter", "histogram"]
    labels: tuple[str, ...] = ()


_SERVING = ":tensorflow:serving:"
_BATCHING = f"{_SERVING}batching_session:"
_LOADING = ":tensorflow:cc:saved_model:"

REQUEST_COUNT = f"{_SERVING}request_count"
REQUEST_LATENCY = f"{_SERVING}request_latency"
RUNTIME_LATENCY = f"{_SERVING}runtime_latency"
WARMUP_LATENCY = f"{_SERVING}model_warmup_latency"
QUEUING_LATENCY = f"{_BATCHING}queuing_latency"
PROCESSED_BATCH_SIZE = f"{_BATCHING}processed_batch_size"
INPUT_BATCH_SIZE = f"{_BATCHING}input_batch_size"
PADDING_SIZE = f"{_BATCHING}padding_size"
LOAD_ATTEMPTS = f"{_LOADING}load_attempt_count"
LOAD_LATENCY = f"{_LOADING}load_latency"
GRAPH_RUNS = ":tensorflow:core:graph_runs"
GRAPH_RUN_TIME = ":tensorflow:core:graph_run_time_usecs"

METRICS: dict[str, Metric] = {
    REQUEST_COUNT: Metric("counter", ("model_name", "status")),
    REQUEST_LATENCY: Metric("histogram", ("model_name", "API", "entrypoint")),
    RUNTIME_LATENCY: Metric("histogram", ("model_name", "API", "runtime")),
    WARMUP_LATENCY: Metric("histogram", ("model_path", "status")),
    QUEUING_LATENCY: Metric("histogram", ("thread_pool_name",)),
    PROCESSED_BATCH_SIZE: Metric("histogram"),
    INPUT_BATCH_SIZE: Metric("histogram"),
    PADDING_SIZE: Metric("histogram", ("execution_batch_size",)),
    LOAD_ATTEMPTS: Metric("counter", ("model_path", "status")),
    LOAD_LATENCY: Metric("counter", ("model_path",)),
    GRAPH_RUNS: Metric("counter"),
    GRAPH_RUN_TIME: Metric("counter"),
}
