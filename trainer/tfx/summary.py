"""What a run of the pipeline found and did, as plain values and for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict


class SliceMetrics(TypedDict):
    """Metrics over a group of examples; None where they do not exist.

    Attributes:
      auc: TFMA's, from 10,000 bins of scores; None where all examples have one label.
      logloss: mean cross entropy.
      calibration: mean score divided by mean label.
      mean_label: share of examples with label 1.
      mean_score: mean probability that the model gives.
      n: examples.
    """

    auc: float | None
    logloss: float | None
    calibration: float | None
    mean_label: float | None
    mean_score: float | None
    n: int


class Anomaly(TypedDict):
    """Something in the examples that a schema does not allow."""

    found_by: str
    split: str
    feature: str
    description: str


class PipelineResult(TypedDict):
    """What a run of the pipeline found and did.

    Attributes:
      blessed: whether the model reached all thresholds.
      failures: the thresholds that it did not reach.
      test: metrics over all test examples.
      baseline: those of the last blessed model on the same examples; None when there was none.
      slices: feature -> its value -> metrics.
      anomalies: what ExampleValidator and ContractValidator found.
      pushed: version folder of the pushed model; None when it was not pushed.
      version: number of that version.
      run: the run folder.
      evaluation: folder of Evaluator's result, which TFMA's own views read.
    """

    blessed: bool
    failures: list[str]
    test: SliceMetrics
    baseline: SliceMetrics | None
    slices: dict[str, dict[str, SliceMetrics]]
    anomalies: list[Anomaly]
    pushed: str | None
    version: int | None
    run: str
    evaluation: str


def summary(result: PipelineResult) -> Iterator[str]:
    """Line by line: anomalies, metrics, slices, and what became of the model."""
    for anomaly in result["anomalies"]:
        yield (
            f"{anomaly['found_by']}: {anomaly['split']}: {anomaly['feature']}: "
            f"{anomaly['description']}"
        )
    if not result["anomalies"]:
        yield "examples: no anomalies"
    yield f"test: {_metric_lines(result['test'])}"
    for feature, metrics_of_value in result["slices"].items():
        for value, metrics in metrics_of_value.items():
            yield f"  {feature} {value}: {_metric_lines(metrics)}"
    baseline = result["baseline"]
    if baseline is None:
        yield "no blessed model to compare with"
    else:
        yield f"last blessed model: {_metric_lines(baseline)}"
    if result["pushed"] is not None:
        yield f"blessed, and pushed to {result['pushed']}"
    elif result["blessed"]:
        yield "blessed, but not pushed"
    else:
        yield f"not blessed, and not pushed: {'; '.join(result['failures'])}"


def _metric_lines(metrics: SliceMetrics) -> str:
    named = {
        "AUC": metrics["auc"],
        "LogLoss": metrics["logloss"],
        "calibration": metrics["calibration"],
    }
    shown = [f"{name} {'-' if value is None else f'{value:.4f}'}" for name, value in named.items()]
    return f"{', '.join(shown)} ({metrics['n']:,} samples)"
