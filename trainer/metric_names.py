"""How metrics are named to people."""

from __future__ import annotations

from trainer.metrics import AnyMetrics

_NAMES = {
    "auc": "AUC",
    "logloss": "LogLoss",
    "gauc": "GAUC",
    "gauc_mean": "GAUC, plain mean",
    "normalised_entropy": "normalised entropy",
    "calibration_ratio": "calibration ratio",
    "calibration_error": "calibration error",
    "mean_score": "mean score",
    "base_rate": "base rate",
    "ndcg_at_10": "NDCG@10",
    "map_at_10": "MAP@10",
    "recall_at_10": "recall@10",
    "new_items_recall_at_10": "recall@10 among new items",
    "new_items_ndcg_at_10": "NDCG@10 among new items",
    "new_items_mrr": "MRR among new items",
    "mrr": "MRR",
}

_SUMMARY = (
    *("auc", "logloss", "gauc", "ndcg_at_10", "map_at_10"),
    *("recall_at_10", "new_items_recall_at_10", "mrr"),
)


def people_call(metric: str) -> str:
    """A metric's name in running text."""
    return _NAMES.get(metric, metric)


def summary(metrics: AnyMetrics) -> str:
    """The metrics that people look at first, each with four decimals."""
    shown = [f"{people_call(key)} {metrics[key]:.4f}" for key in _SUMMARY if key in metrics]
    for task, of_task in metrics.get("tasks", {}).items():
        shown.append(f"{task} ({summary(of_task)})")
    return ", ".join(shown)
