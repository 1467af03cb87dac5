from __future__ import annotations

from trainer.metrics import people_call, summary


def test_the_metrics_that_count_are_shown_with_their_names() -> None:
    metrics = {"auc": 0.81234, "map_at_1": 0.3, "ndcg_at_10": 0.7, "n": 10}
    assert summary(metrics) == "AUC 0.8123, NDCG@10 0.7000"
    assert summary({"mrr": 0.2, "recall_at_10": 0.5}) == "recall@10 0.5000, MRR 0.2000"


def test_tasks_are_named() -> None:
    assert summary({"auc": 0.8, "tasks": {"loved": {"auc": 0.7}}}) == (
        "AUC 0.8000, loved (AUC 0.7000)"
    )


def test_a_metric_without_another_name_keeps_its_own() -> None:
    assert people_call("auc") == "AUC" and people_call("map_hits_at_3") == "map_hits_at_3"


def test_what_people_look_at_later_is_named_but_not_in_the_summary() -> None:
    assert people_call("calibration_ratio") == "calibration ratio"
    assert summary({"auc": 0.8, "calibration_ratio": 1.0, "gauc_mean": 0.6}) == "AUC 0.8000"
