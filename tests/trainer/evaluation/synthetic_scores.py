"""Made-up scores with ties, users of one class and rare groups, and plain oracles over them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import log_loss, roc_auc_score

CUTOFFS = (1, 3, 5, 7, 10)


def synthetic_samples(seed: int, rows: int = 2000, digits: int | None = 2) -> pd.DataFrame:
    """Samples of users of very different activity, in mixed order; few distinct scores."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.35).astype(np.float32)
    scores = 1 / (1 + np.exp(-(random.normal(size=rows) + labels - 1)))
    if digits is not None:
        scores = np.round(scores, digits)
    return pd.DataFrame(
        {
            "user_id": [f"u{user}" for user in random.geometric(0.03, rows)],
            "item_id": [f"i{item}" for item in (60 * random.random(rows) ** 2).astype(int)],
            "label": labels,
            "score": scores.astype(np.float32),
            "position": random.integers(0, 40, rows),
        }
    )


def synthetic_lists(seed: int, lists: int = 300) -> pd.DataFrame:
    """Candidates of lists of 1 to 12, list by list; users have several lists."""
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 13, lists)
    samples = synthetic_samples(seed, int(sizes.sum()), digits=1)
    users = np.array([f"u{user}" for user in random.integers(0, 40, lists)])
    samples["user_id"] = np.repeat(users, sizes)
    samples.insert(0, "list_id", np.repeat(np.arange(lists), sizes))
    return samples


def written(samples: pd.DataFrame, folder: Path) -> Path:
    path = folder / "scores.parquet"
    pq.write_table(pa.Table.from_pandas(samples, preserve_index=False), path, row_group_size=500)
    return path


def expected_metrics(samples: pd.DataFrame, lists: str, order: str) -> dict[str, Any]:
    """Metrics by scikit-learn and loops; for samples of both classes.

    Args:
      samples: the samples.
      lists: the column that says which samples are a list.
      order: a column by which equal scores of a list follow each other.
    """
    labels, scores = samples.label.astype(float), samples.score.astype(float)
    logloss, base_rate = log_loss(labels, scores), labels.mean()
    users = [rows for _, rows in samples.groupby("user_id")]
    mixed = [rows for rows in users if rows.label.nunique() == 2]
    aucs = [auc_by_pairs(rows.label.to_numpy(), rows.score.to_numpy()) for rows in mixed]
    ranked = [
        rows.sort_values(["score", order], ascending=[False, True]).label.tolist()
        for _, rows in samples.groupby(lists)
    ]
    judged = [each for each in ranked if any(each)]
    return {
        "auc": roc_auc_score(labels, scores),
        "logloss": logloss,
        "gauc": np.average(aucs, weights=[len(rows) for rows in mixed]),
        "gauc_mean": np.mean(aucs),
        "normalised_entropy": logloss
        / -(base_rate * math.log(base_rate) + (1 - base_rate) * math.log(1 - base_rate)),
        "calibration_ratio": scores.mean() / base_rate,
        "mean_score": scores.mean(),
        "base_rate": base_rate,
        **{
            name: np.mean([value[name] for value in map(quality_by_hand, judged)])
            for name in quality_by_hand([1.0])
        },
        "n": len(samples),
        "users": len(users),
        "users_of_one_class": len(users) - len(mixed),
        f"{'users' if lists == 'user_id' else 'lists'}_without_positive": len(ranked) - len(judged),
        **({} if lists == "user_id" else {"lists": len(ranked)}),
    }


def auc_by_pairs(labels: np.ndarray, scores: np.ndarray) -> float:
    """Share of pairs of a positive and a negative sample that are in order, ties half."""
    positive, negative = scores[labels == 1][:, np.newaxis], scores[labels == 0]
    return ((positive > negative) + (positive == negative) / 2).mean()


def quality_by_hand(ranked: list[float]) -> dict[str, float]:
    """Quality of one list, from its labels in the order of their scores, by loops."""
    collected = {"mrr": 1 / (1 + ranked.index(1))}
    positives = sum(ranked)
    for k in CUTOFFS:
        hits, precisions, gained = 0, 0.0, 0.0
        for place, label in enumerate(ranked[:k], start=1):
            if label:
                hits += 1
                precisions += hits / place
                gained += 1 / math.log2(place + 1)
        best = sum(1 / math.log2(place + 1) for place in range(1, min(k, int(positives)) + 1))
        collected[f"ndcg_at_{k}"] = gained / best
        collected[f"map_at_{k}"] = precisions / min(k, positives)
        collected[f"map_hits_at_{k}"] = precisions / hits if hits else 0.0
        collected[f"hit_rate_at_{k}"] = float(hits > 0)
    return collected
