"""TensorFlow Serving's metrics that dashboard and alerts read, as Prometheus has them.

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


METRICS = {
    ":tensorflow:serving:request_count": Metric("counter", ("model_name", "status")),
    ":tensorflow:serving:request_latency": Metric("histogram", ("model_name", "API", "entrypoint")),
    ":tensorflow:serving:runtime_latency": Metric("histogram", ("model_name", "API", "runtime")),
    ":tensorflow:serving:model_warmup_latency": Metric("histogram", ("model_path", "status")),
    ":tensorflow:serving:batching_session:queuing_latency": Metric(
        "histogram", ("thread_pool_name",)
    ),
    ":tensorflow:serving:batching_session:processed_batch_size": Metric("histogram"),
    ":tensorflow:serving:batching_session:input_batch_size": Metric("histogram"),
    ":tensorflow:serving:batching_session:padding_size": Metric(
        "histogram", ("execution_batch_size",)
    ),
    ":tensorflow:cc:saved_model:load_attempt_count": Metric("counter", ("model_path", "status")),
    ":tensorflow:cc:saved_model:load_latency": Metric("counter", ("model_path",)),
    ":tensorflow:core:graph_runs": Metric("counter"),
    ":tensorflow:core:graph_run_time_usecs": Metric("counter"),
}

_SUFFIXES_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


def metric_of(series: str) -> str:
    """The metric that a series belongs to; a histogram is never read without a suffix."""
    for suffix in _SUFFIXES_OF_HISTOGRAMS:
        name = series.removesuffix(suffix)
        if name != series and name in METRICS and METRICS[name].kind == "histogram":
            return name
    assert METRICS[series].kind == "counter", series
    return series
