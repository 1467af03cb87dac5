from __future__ import annotations

import json
from typing import Any

import pytest

from tests.runs import rich_run, write_run, written_run
from tests.scenarios import rich_scenario
from trainer.__main__ import main


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = main(["compare", *words, "--resamples", "30"])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, captured.out, captured.err


def result_of(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    code, output, errors = run(capsys, *words, "--json")
    assert code == 0, errors
    return json.loads(output)


def test_slices_are_compared_with_both_tests(capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(written_run(seed=seed).folder.path) for seed in (1, 2)]
    words = [*folders, "--slices", "knowledge.item,cold_user", "evaluation.cold_user_below=1000"]
    result = result_of(capsys, *words)
    assert list(result["slices"]) == ["knowledge.item", "cold_user"]
    origins, cold = result["slices"]["knowledge.item"], result["slices"]["cold_user"]
    assert sum(group["n"] for group in origins.values()) == result["n"]
    individual = origins["individual"]
    assert individual["n"] >= 50 and individual["sparse"] is False
    assert individual["holm_p_value"] >= individual["p_value"] > 0
    assert individual["delong"]["holm_p_value"] >= individual["delong"]["p_value"]
    everybody = cold["cold"]
    for name in ("auc_a", "auc_b", "auc_difference", "ci_low", "ci_high", "n", "users"):
        assert everybody[name] == pytest.approx(result[name])
    assert cold["warm"]["reason"] == "no samples" and "auc_a" not in cold["warm"]
    code, output, errors = run(capsys, *words)
    assert (code, output) == (0, "")
    assert "DeLong's test of the AUC" in errors and "no samples" in errors
    assert result["covers_seeds"] is False and "test: seeds are not covered" in errors
    assert result["leak_rule_a"] == result["leak_rule_b"] == {
        "item": "unverified", "user": "verified",
    }  # fmt: skip
    assert "model A: unverified sources: item: nothing shows" in errors


@pytest.mark.parametrize(
    ("backbone", "metric"),
    [
        ("prm", "ndcg_at_10"),
        pytest.param("two_tower", "new_items_recall_at_10", marks=pytest.mark.slow),
    ],
)
def test_other_kinds_have_slices_too(
    capsys: pytest.CaptureFixture[str], backbone: str, metric: str
) -> None:
    first = rich_run(backbone)
    other = write_run(
        rich_scenario(model__backbone=backbone, run_dir=f"{first.folder.path}_2"), seed=2
    )
    words = [str(first.folder.path), str(other.folder.path), "--slices", "item.genres,profile.city"]
    result = result_of(capsys, *words)
    assert ("delong" in result) == (backbone == "prm")
    compared = [
        group
        for groups in result["slices"].values()
        for group in groups.values()
        if "reason" not in group
    ]
    assert len(compared) >= 5
    for group in compared:
        difference = group[f"{metric}_b"] - group[f"{metric}_a"]
        assert group[f"{metric}_difference"] == pytest.approx(difference)
        assert 0 < group["n"] < result["n"]


def test_wrong_use_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(written_run().folder.path)
    for words, message in [
        ([folder, folder, "--slices", "item.genre"], "Did you mean 'item.genres'?"),
        ([folder, folder, "model.match=ridge"], "only evaluation.<key> can be changed"),
        ([folder, folder, "evaluation.bootstrap_resamples=50"], "'compare' has --resamples"),
    ]:
        code, output, errors = run(capsys, *words, "--json")
        assert (code, output) == (2, "")
        assert message in errors
