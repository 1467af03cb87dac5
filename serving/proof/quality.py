"""What checkpoint and export are worth on the same validation rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import roc_auc_score

from preprocessing.records.contract import ITEM_ID, LABEL, RERANK
from serving.proof.input_forms import SignatureForms
from serving.proof.loaders import Ask
from serving.proof.samples import ProofSamples
from serving.ranking_module import SCORE

_FIRST = 10

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Quality:
    """The same metric of checkpoint and export.

    Attributes:
      metric: "auc"; of retrieval models "new_items_recall_at_10", the share of rows whose item is
        among the first ten of those that are not in the history.
      checkpoint: of the trained model; NaN where the rows are of one class.
      export: of the SavedModel.
      rows: validation rows; candidates of a re-ranker.
    """

    metric: str
    checkpoint: float
    export: float
    rows: int

    @property
    def cost(self) -> float:
        """What the export loses."""
        return self.checkpoint - self.export


def compare_quality(
    samples: ProofSamples, expected: Arrays, forms: SignatureForms, ask: Ask
) -> Quality:
    """Asks the export about the quality rows.

    Args:
      samples: has the rows.
      expected: what the checkpoint says about them.
      forms: the export's.
      ask: the SavedModel in Python.
    """
    rows, batch = samples.quality_rows, samples.rows_at_once
    found = [
        ask(
            "serving_default",
            forms.inputs(
                "serving_default",
                {name: values[start : start + batch] for name, values in rows.items()},
            ),
        )
        for start in range(0, len(rows[ITEM_ID]), batch)
    ]
    scores = np.concatenate([answer[SCORE] for answer in found])
    if LABEL not in rows:
        items = np.concatenate([answer[ITEM_ID] for answer in found])
        return Quality(
            "new_items_recall_at_10",
            _recall(rows[ITEM_ID], expected[ITEM_ID]),
            _recall(forms.ids(rows[ITEM_ID]), items),
            len(scores),
        )
    is_row = rows[ITEM_ID] != b"" if samples.kind == RERANK else np.full(scores.shape, True)
    labels = rows[LABEL][is_row]
    return Quality(
        "auc",
        _auc(labels, expected[SCORE][is_row]),
        _auc(labels, scores[is_row]),
        len(labels),
    )


def _auc(labels: np.ndarray, scores: np.ndarray) -> float:
    if not np.isfinite(scores).all() or labels.min() == labels.max():
        return math.nan
    return float(roc_auc_score(labels, scores))


def _recall(chosen: np.ndarray, found: np.ndarray) -> float:
    """Share of rows whose item is among the first items found: [n], [n, k]."""
    return float((found[:, :_FIRST] == chosen[:, np.newaxis]).any(axis=1).mean())
