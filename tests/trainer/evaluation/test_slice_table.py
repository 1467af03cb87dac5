from __future__ import annotations

import pytest

from trainer.evaluation.reports import header, remark, rows
from trainer.model_kinds import MODEL_KINDS


def group(kind: str, n: int = 1234, **changes: object) -> dict[str, object]:
    metrics = dict.fromkeys(MODEL_KINDS[kind].shown_metrics, 0.56789)
    return {**metrics, "n": n, "share": 0.25, "sparse": n < 50, **changes}


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_every_group_has_a_row(kind: str) -> None:
    slices = {"cold_item": {"cold": group(kind, 9), "warm": group(kind)}, "b": {"x": group(kind)}}
    actual = [dict(zip(header(kind), row, strict=True)) for row in rows(slices, kind)]
    assert [(row["slice"], row["group"]) for row in actual] == [
        *(("cold_item", "cold"), ("cold_item", "warm"), ("b", "x"))
    ]
    assert (actual[1]["n"], actual[1]["share"]) == ("1,234", "25.0 %")
    assert list(actual[1].values()).count("0.5679") == len(MODEL_KINDS[kind].shown_metrics)
    assert actual[0]["remark"] == "few samples" and actual[1]["remark"] == ""


def test_a_metric_without_a_value_is_a_dash_with_its_reason() -> None:
    one_class = group("ctr", 20, auc=None, gauc=None, reason="all samples have label 1")
    (row,) = rows({"a": {"x": one_class}}, "ctr")
    actual = dict(zip(header("ctr"), row, strict=True))
    assert actual["AUC"] == actual["GAUC"] == "–" and actual["LogLoss"] == "0.5679"
    assert actual["remark"] == "all samples have label 1; few samples"
    assert remark({"n": 0, "sparse": True, "reason": "no samples"}) == "no samples"
