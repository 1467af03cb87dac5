"""What an evaluation of every kind may find, made up."""

from __future__ import annotations

from typing import Any

from trainer.evaluation.part_metrics import PartMetrics, ReliabilityBin

CTR_METRICS = {
    **{"auc": 0.8, "logloss": 0.5, "gauc": 0.65, "gauc_mean": 0.64, "normalised_entropy": 0.77},
    **{"calibration_ratio": 0.95, "calibration_error": 0.02, "ndcg_at_1": 0.7, "ndcg_at_10": 0.84},
    **{"map_at_1": 0.7, "map_at_10": 0.77, "mrr": 0.87, "n": 8304, "users": 671},
}


def reliability() -> list[ReliabilityBin]:
    """Four bins of a model that promises too little."""
    return [
        ReliabilityBin(0.1 * n, 0.1 * n + 0.05, 0.1 * n + 0.02, 0.1 * n + 0.06, 2076)
        for n in range(1, 5)
    ]


def group(n: int, **metrics: Any) -> dict[str, Any]:
    return {**CTR_METRICS, "n": n, "share": n / 8304, "sparse": n < 50, **metrics}


def empty_group() -> dict[str, Any]:
    return {**dict.fromkeys(CTR_METRICS), "n": 0, "share": 0.0, "sparse": True, "reason": "none"}


def ctr() -> PartMetrics:
    """Groups with few samples, with none, and with one class."""
    reason = "all samples have label 1"
    return PartMetrics(
        {**CTR_METRICS, "tasks": {"loved": {"auc": 0.7, "logloss": 0.4, "n": 8304}}},
        {
            "item_popularity": {
                "0": group(760, auc=0.82),
                "1-4": group(12, auc=0.99),
                "5+": group(7532, auc=0.79),
            },
            "item.genres": {
                "Drama|War": group(4000),
                "Film-Noir": group(30, auc=None, gauc=None, reason=reason),
                "(others)": empty_group(),
            },
            "cold_user": {"cold": empty_group()},
        },
        reliability(),
    )


def retrieval() -> PartMetrics:
    metrics = {
        **{"recall_at_10": 0.2, "ndcg_at_10": 0.1, "mrr": 0.05, "new_items_recall_at_10": 0.3},
        **{"new_items_ndcg_at_10": 0.12, "new_items_mrr": 0.06, "n": 65},
    }
    groups = {"cold": {**metrics, "n": 5, "share": 5 / 65, "sparse": True}}
    return PartMetrics(metrics, {"cold_item": groups})
