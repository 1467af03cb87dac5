from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from serving.proof.result import compare_quality
from serving.proof.samples import ProofSamples, SignatureForms
from tests.serving.exports import exported

Arrays = Mapping[str, np.ndarray]


def samples(kind: str, **rows: np.ndarray) -> ProofSamples:
    number = len(rows["item_id"])
    filled = {
        name: np.zeros(number, np.float32)
        for name in ("user_share_liked", "user_mean_rating", "user_log_count")
    } | {
        "user_id": np.full(number, b"u", object),
        "history_item_id": np.full([number, 1], b"", object),
        "history_rating": np.zeros([number, 1], np.float32),
    }
    return ProofSamples(kind, (), (), number, (), {**filled, **rows})


def test_auc_of_both_sides() -> None:
    rows = samples(
        "ctr",
        item_id=np.array([b"1", b"2", b"3", b"4"], object),
        label=np.array([0, 0, 1, 1], np.float32),
    )
    checkpoint = {"score": np.array([0.1, 0.2, 0.3, 0.4], np.float32)}
    found = np.array([0.1, 0.35, 0.3, 0.4], np.float32)  # One of four pairs is in the wrong order.

    def ask(signature: str, inputs: Arrays) -> Arrays:
        assert signature == "serving_default"
        return {"score": found[[int(item) - 1 for item in inputs["item_id"]]]}

    quality = compare_quality(rows, checkpoint, SignatureForms(exported().path), ask)
    assert (quality.metric, quality.checkpoint, quality.export) == ("auc", 1.0, 0.75)
    assert (quality.cost, quality.rows) == (0.25, 4)


def test_padding_of_lists_does_not_count() -> None:
    rows = samples(
        "rerank",
        item_id=np.array([[b"1", b"2"], [b"3", b""]], object),
        label=np.array([[0, 1], [1, 0]], np.float32),
    )
    scores = np.array([[0.5, 0.6], [0.4, 0.0]], np.float32)
    quality = compare_quality(
        rows, {"score": scores}, SignatureForms(exported().path), lambda *_: {"score": scores}
    )
    assert (quality.rows, quality.checkpoint) == (3, 0.5)


def test_one_class_has_no_auc() -> None:
    rows = samples("ctr", item_id=np.array([b"1"], object), label=np.ones(1, np.float32))
    scores = {"score": np.ones(1, np.float32)}
    quality = compare_quality(rows, scores, SignatureForms(exported().path), lambda *_: scores)
    assert np.isnan(quality.checkpoint)


def test_recall_of_searches() -> None:
    rows = samples("retrieval", item_id=np.array([b"a", b"b"], object))
    items = np.array([[b"a", *[b"x"] * 10], [*[b"x"] * 10, b"b"]], object)
    expected = {"item_id": items, "score": np.zeros(items.shape, np.float32)}
    swapped = {**expected, "item_id": items[:, ::-1]}
    quality = compare_quality(rows, expected, SignatureForms(exported().path), lambda *_: swapped)
    assert quality.metric == "new_items_recall_at_10"
    # Only the first ten of the eleven items count.
    assert (quality.checkpoint, quality.export) == pytest.approx((0.5, 0.5))
