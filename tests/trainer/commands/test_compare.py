from __future__ import annotations

import pytest

from tests.runs import rich_run, write_run, written_run
from tests.scenarios import rich_scenario
from trainer.__main__ import main

FEW = ("--resamples", "30")


def test_slices_are_compared_with_both_tests(run, json_result) -> None:
    folders = [str(written_run(seed=seed).folder.path) for seed in (1, 2)]
    words = [*folders, "--slices", "knowledge.item,cold_user", "evaluation.cold_user_below=1000"]
    result = json_result("compare", *words, *FEW)
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
    code, output, errors = run("compare", *words, *FEW)
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
def test_other_kinds_have_slices_too(json_result, backbone: str, metric: str) -> None:
    first = rich_run(backbone)
    other = write_run(
        rich_scenario(model__backbone=backbone, run_dir=f"{first.folder.path}_2"), seed=2
    )
    words = [str(first.folder.path), str(other.folder.path), "--slices", "item.genres,profile.city"]
    result = json_result("compare", *words, *FEW)
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


def test_wrong_use_is_explained(run) -> None:
    folder = str(written_run().folder.path)
    for words, message in [
        ([folder, folder, "--slices", "item.genre"], "Did you mean 'item.genres'?"),
        ([folder, folder, "model.match=ridge"], "only evaluation.<key> can be changed"),
        ([folder, folder, "evaluation.bootstrap_resamples=50"], "'compare' has --resamples"),
    ]:
        code, output, errors = run("compare", *words, "--json")
        assert (code, output) == (2, "")
        assert message in errors


@pytest.mark.parametrize("again", ["{0}", "{0}/", "{0}/../{1}"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_run_is_no_second_seed_of_itself(
    capsys: pytest.CaptureFixture[str], again: str, side: int
) -> None:
    folders = [written_run(seed=seed).folder.path for seed in (1, 2)]
    words = [str(folder) for folder in folders]
    words[side] += "," + again.format(folders[side], folders[side].name)
    with pytest.raises(SystemExit) as ended:
        main(["compare", *words, *FEW])
    assert ended.value.code == 2
    assert f"{folders[side]} stands there twice" in capsys.readouterr().err
