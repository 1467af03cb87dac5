"""The slices of an evaluation as rows of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preprocessing.records.contract import CTR, RERANK, RETRIEVAL
from trainer.metric_names import people_call

NOTHING = "–"
"""What stands in the place of a metric that has no value."""

SHOWN_METRICS = {
    CTR: ("auc", "gauc", "logloss", "normalised_entropy", "calibration_ratio", "ndcg_at_10"),
    RERANK: ("auc", "logloss", "calibration_ratio", "ndcg_at_10", "map_at_10", "mrr"),
    RETRIEVAL: ("recall_at_10", "new_items_recall_at_10", "new_items_ndcg_at_10", "new_items_mrr"),
}
"""Metrics that people look at first, by kind of model."""

Slices = Mapping[str, Mapping[str, Mapping[str, Any]]]


def header(kind: str) -> list[str]:
    """Names of the columns of `rows`."""
    return ["slice", "group", "n", "share", *map(people_call, SHOWN_METRICS[kind]), "remark"]


def rows(slices: Slices, kind: str) -> list[list[str]]:
    """A row for each group, for people."""
    return [
        [
            name,
            group,
            f"{metrics['n']:,}",
            f"{100 * metrics['share']:.1f} %",
            *(
                NOTHING if metrics[metric] is None else f"{metrics[metric]:.4f}"
                for metric in SHOWN_METRICS[kind]
            ),
            remark(metrics),
        ]
        for name, groups in slices.items()
        for group, metrics in groups.items()
    ]


def remark(metrics: Mapping[str, Any]) -> str:
    """What to know about a group: why a metric has no value, or that it has few samples."""
    few = "few samples" if metrics["sparse"] and metrics["n"] else ""
    return "; ".join(text for text in (metrics.get("reason", ""), few) if text)
