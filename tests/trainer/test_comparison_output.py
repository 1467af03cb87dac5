from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from trainer.comparison import (
    SEEDS_COVERED,
    Compared,
    result_of,
    sentences,
    slice_results,
    slice_rows,
)
from trainer.significance import DeLongTest, Difference

AUC = Difference(0.8, 0.812, 0.012, 0.0101, 0.0139, 0.004, 0.0005)
NDCG = Difference(0.0, 0.1, 0.1, 0.05, 0.15, 0.02, 0.01)
DELONG = DeLongTest(0.012, 0.004, 0.0042, 0.0198, 0.0027)
BOTH = Compared(1200, 30, {"auc": AUC, "ndcg_at_10": NDCG}, DELONG)
RECALL = Compared(20, 10, {"new_items_recall_at_10": AUC})
TINY = Compared(
    2, 2, {"auc": Difference(1.0, 0.0, -1.0, *[math.nan] * 3)}, DeLongTest(-1.0, *[math.nan] * 4)
)
NONE = Compared(0, 0, reason="no samples")


def test_the_first_metric_has_keys_without_prefix() -> None:
    assert result_of(BOTH) == {
        **{"auc_a": 0.8, "auc_b": 0.812, "auc_difference": 0.012},
        **{"ci_low": 0.0101, "ci_high": 0.0139, "p_value": 0.004},
        **{"relative_lift": pytest.approx(0.015), "seed_standard_error": 0.0005},
        **{"ndcg_at_10_a": 0.0, "ndcg_at_10_b": 0.1, "ndcg_at_10_difference": 0.1},
        **{"ndcg_at_10_ci_low": 0.05, "ndcg_at_10_ci_high": 0.15, "ndcg_at_10_p_value": 0.02},
        **{"ndcg_at_10_relative_lift": None, "ndcg_at_10_seed_standard_error": 0.01},
        "delong": {
            **{"standard_error": 0.004, "ci_low": 0.0042, "ci_high": 0.0198, "p_value": 0.0027}
        },
        **{"covers_seeds": True, "seeds": SEEDS_COVERED, "n": 1200, "users": 30},
    }
    recall = result_of(RECALL)
    assert "delong" not in recall and recall["ci_low"] == 0.0101
    assert recall["new_items_recall_at_10_difference"] == 0.012


def test_slices_have_corrected_p_values_and_reasons() -> None:
    actual = slice_results({"s": {"x": BOTH, "y": BOTH, "z": TINY, "none": NONE}}, sparse_below=50)
    json.dumps(actual, allow_nan=False)
    x, z = actual["s"]["x"], actual["s"]["z"]
    assert (x["holm_p_value"], x["ndcg_at_10_holm_p_value"]) == (0.008, 0.04)
    assert x["delong"]["holm_p_value"] == pytest.approx(0.0054)
    assert x["sparse"] is False and "reason" not in x
    assert z["p_value"] is z["holm_p_value"] is z["delong"]["holm_p_value"] is z["ci_low"] is None
    assert z["auc_difference"] == -1.0 and z["sparse"] is True
    assert actual["s"]["none"] == {"n": 0, "users": 0, "sparse": True, "reason": "no samples"}


def test_people_read_a_sentence_for_each_test() -> None:
    assert sentences(BOTH) == [
        "AUC 0.8000 -> 0.8120, difference +0.0120 [+0.0101, +0.0139], p = 0.004, relative +1.50 %",
        "NDCG@10 0.0000 -> 0.1000, difference +0.1000 [+0.0500, +0.1500], p = 0.02",
        "DeLong's test of the AUC: difference +0.0120 [+0.0042, +0.0198], p = 0.0027",
        SEEDS_COVERED,
    ]
    assert len(sentences(RECALL)) == 2


def test_a_single_run_is_said_to_leave_out_seeds() -> None:
    single = Compared(1200, 30, {"auc": replace(AUC, seed_error=math.nan)}, DELONG)
    result = result_of(single)
    assert (result["p_value"], result["seed_standard_error"]) == (0.004, None)
    assert result["covers_seeds"] is False
    assert str(result["seeds"]).startswith("seeds are not covered")
    assert sentences(single)[-1] == result["seeds"]


def test_a_table_has_a_row_for_each_group_and_metric() -> None:
    header, rows = slice_rows({"s": {"x": BOTH, "few": TINY, "none": NONE}}, sparse_below=50)
    assert {len(row) for row in rows} == {len(header)}
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(row["group"], row["metric"]) for row in cells] == [
        *(("x", "AUC"), ("x", "NDCG@10"), ("few", "AUC"), ("none", "–"))
    ]
    assert cells[0]["95 % interval"] == "+0.0101 to +0.0139"
    assert (cells[0]["p"], cells[0]["p, Holm"]) == ("0.004", "0.004")
    assert (cells[0]["DeLong p"], cells[0]["DeLong Holm"]) == ("0.0027", "0.0027")
    assert cells[1]["DeLong p"] == "–" and cells[1]["p"] == "0.02"
    assert cells[2]["remark"] == "few samples" and cells[2]["p"] == "–"
    assert cells[3]["remark"] == "no samples" and cells[3]["n"] == "0"
