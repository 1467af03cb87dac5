"""The result of the pipeline for people."""

from __future__ import annotations

from collections.abc import Iterator

from trainer.tfx.metrics import PipelineResult, SliceMetrics


def summary(result: PipelineResult) -> Iterator[str]:
    """Line by line: anomalies, metrics, slices, and what became of the model."""
    for anomaly in result["anomalies"]:
        yield (
            f"{anomaly['found_by']}: {anomaly['split']}: {anomaly['feature']}: "
            f"{anomaly['description']}"
        )
    if not result["anomalies"]:
        yield "examples: no anomalies"
    yield f"test: {_metrics(result['test'])}"
    for feature, metrics_of_value in result["slices"].items():
        for value, metrics in metrics_of_value.items():
            yield f"  {feature} {value}: {_metrics(metrics)}"
    baseline = result["baseline"]
    if baseline is None:
        yield "no blessed model to compare with"
    else:
        yield f"last blessed model: {_metrics(baseline)}"
    if result["pushed"] is not None:
        yield f"blessed, and pushed to {result['pushed']}"
    elif result["blessed"]:
        yield "blessed, but not pushed"
    else:
        yield f"not blessed, and not pushed: {'; '.join(result['failures'])}"


def _metrics(metrics: SliceMetrics) -> str:
    named = {
        "AUC": metrics["auc"],
        "LogLoss": metrics["logloss"],
        "calibration": metrics["calibration"],
    }
    shown = [f"{name} {'-' if value is None else f'{value:.4f}'}" for name, value in named.items()]
    return f"{', '.join(shown)} ({metrics['n']:,} samples)"
