from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, roc_auc_score

from configs.command_line import CommandError
from configs.experiment import Evaluation
from tests.runs import rich_run, shared_store
from tests.trainer.evaluation.synthetic_scores import (
    expected_metrics,
    synthetic_lists,
    synthetic_samples,
    written,
)
from trainer.evaluation import score_table
from trainer.evaluation.part_metrics import (
    ListSums,
    PartMetrics,
    RankSums,
    ReliabilityBin,
    ReliabilityCurve,
    SampleSums,
    calibration_error,
    part_metrics,
    shuffled_order,
)
from trainer.evaluation.runs import evaluate_scores_of, run_scores
from trainer.evaluation.score_table import ScoreTable
from trainer.evaluation.slices import MISSING, KeySlice, NumberSlice, Slice, slice_names
from trainer.metric_sums import ScoreSums
from trainer.metrics import RETRIEVAL_CUTOFFS, Ranks, evaluate_scores, rank_values
from trainer.model_kinds import predictor_of
from trainer.predictions import RetrievalPredictions

OPTIONS = Evaluation(bootstrap_resamples=20)
GENRES = ("Drama", "Comedy", "Western")


def evaluated(samples: pd.DataFrame, folder: Path, kind: str = "ctr", **options) -> PartMetrics:
    with ScoreTable(written(samples, folder)) as table:
        return part_metrics(table, kind, OPTIONS, slices_of(table), **options)


def genres_of(item: str) -> list[int]:
    """Item i5 has two genres, i7 none, all others one."""
    number = int(item[1:])
    return {5: [0, 1], 7: []}.get(number, [number % 3])


def slices_of(table: ScoreTable) -> list[Slice]:
    items, _ = table.counts("item_id")
    table.add_key("item_key", "item_id", items)
    item_genres = [genres_of(item) for item in items.to_pylist()]
    return [
        NumberSlice("activity", ["0-9", "10-29", "30+"], "position", [10, 30]),
        KeySlice("genre", GENRES, "item_key", [*item_genres, []]),
    ]


def in_group(samples: pd.DataFrame, name: str, group: str) -> pd.DataFrame:
    if name == "genre":
        return samples[samples.item_id.map(lambda i: GENRES.index(group) in genres_of(i))]
    low, high = {"0-9": (0, 10), "10-29": (10, 30), "30+": (30, 99)}[group]
    return samples[(samples.position >= low) & (samples.position < high)]


def interval(values: list[float]) -> tuple[float, float]:
    return tuple(np.percentile(values, [2.5, 97.5]))


def draws_of(users: int) -> np.ndarray:
    """How often each of the users is drawn: [resamples, users]."""
    random = np.random.default_rng(OPTIONS.bootstrap_seed)
    return random.multinomial(users, [1 / users] * users, OPTIONS.bootstrap_resamples)


def auc_interval(rows: pd.DataFrame) -> tuple[float, float]:
    users, owners = np.unique(rows.user_id, return_inverse=True)
    aucs = []
    for draw in draws_of(len(users)):
        drawn = rows.iloc[np.repeat(np.arange(len(rows)), draw[owners])]
        if drawn.label.nunique() == 2:
            aucs.append(roc_auc_score(drawn.label, drawn.score))
    return interval(aucs)


def gauc_interval(rows: pd.DataFrame) -> tuple[float, float]:
    judged = [user for _, user in rows.groupby("user_id") if user.label.nunique() == 2]
    aucs = np.array([roc_auc_score(user.label, user.score) for user in judged])
    sizes = np.array([len(user) for user in judged])
    return interval([(draw * sizes) @ aucs / (draw @ sizes) for draw in draws_of(len(judged))])


@pytest.mark.parametrize("digits", [1, 2, None])
def test_metrics_of_a_part_and_its_slices_are_those_of_scikit_learn_and_loops(
    digits: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_table, "_BATCH", 256)
    samples = synthetic_samples(3, digits=digits)
    actual = evaluated(samples, tmp_path)
    samples["order"] = shuffled_order(np.arange(len(samples)))
    expected = expected_metrics(samples, "user_id", "order")
    assert actual.metrics.pop("calibration_error") > 0
    assert actual.metrics == pytest.approx(expected, abs=1e-9)
    assert list(actual.slices) == ["activity", "genre"]
    for name, groups in actual.slices.items():
        for group, metrics in groups.items():
            rows = in_group(samples, name, group)
            assert metrics.pop("share") == pytest.approx(len(rows) / len(samples))
            assert metrics.pop("sparse") is False
            for metric, expected in (("auc", auc_interval(rows)), ("gauc", gauc_interval(rows))):
                ends = metrics.pop(f"{metric}_low"), metrics.pop(f"{metric}_high")
                assert ends == pytest.approx(expected, abs=1e-9)
                assert ends[0] < metrics[metric] < ends[1]
            assert metrics == pytest.approx(expected_metrics(rows, "user_id", "order"), abs=1e-9)
    assert sum(metrics["n"] for metrics in actual.slices["genre"].values()) != len(samples)


def test_metrics_of_lists_are_those_of_scikit_learn_and_loops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_table, "_BATCH", 200)
    samples = synthetic_lists(4)
    actual = evaluated(samples, tmp_path, "rerank")
    samples["order"] = np.arange(len(samples))
    actual.metrics.pop("calibration_error")
    assert actual.metrics == pytest.approx(expected_metrics(samples, "list_id", "order"), abs=1e-9)
    for name, groups in actual.slices.items():
        for group, metrics in groups.items():
            expected = expected_metrics(in_group(samples, name, group), "list_id", "order")
            assert {key: metrics[key] for key in expected} == pytest.approx(expected, abs=1e-9)
            for metric in ("auc", "ndcg_at_10"):
                assert metrics[f"{metric}_low"] < metrics[metric] < metrics[f"{metric}_high"]


def test_what_has_no_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = synthetic_samples(3)
    few = samples[samples.user_id.isin(sorted(samples.user_id.unique())[:9])]
    (tmp_path / "few").mkdir()
    for groups in evaluated(few, tmp_path / "few").slices.values():
        assert not any(name.endswith("_low") for metrics in groups.values() for name in metrics)
    monkeypatch.setattr("trainer.evaluation.part_metrics.LARGEST_RESAMPLED", len(samples) - 1)
    for groups in evaluated(samples, tmp_path).slices.values():
        assert not any(name.endswith("_low") for metrics in groups.values() for name in metrics)


def test_resamples_of_one_class_make_no_interval(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No draw of this seed has the first user, who alone has a positive sample.
    never = Evaluation(bootstrap_resamples=10, bootstrap_seed=78_288)
    draws = np.random.default_rng(never.bootstrap_seed).multinomial(10, [0.1] * 10, 10)
    assert not draws[:, 0].any()
    monkeypatch.setattr("tests.trainer.evaluation.test_part_metrics.OPTIONS", never)
    users = [f"u{number}" for number in range(10)]
    samples = pd.DataFrame(
        {
            "user_id": users * 2,
            "item_id": ["i1", "i2"] * 10,
            "label": np.float32([1] + [0] * 19),
            "score": np.linspace(0.1, 0.9, 20, dtype=np.float32),
            "position": np.repeat([0, 20], 10),
        }
    )
    group = evaluated(samples, tmp_path).slices["activity"]["0-9"]
    assert group["auc"] == 0.0 and not any(name.startswith("auc_") for name in group)


def synthetic_ranks(seed: int, count: int = 120) -> tuple[Ranks, Ranks]:
    random = np.random.default_rng(seed)
    better, tied = random.integers(0, 130, count), random.integers(0, 3, count)
    return Ranks(better, tied), Ranks(better // 2, tied // 2)


def rank_metrics_by_hand(ranks: tuple[Ranks, Ranks], rows: np.ndarray) -> dict[str, float]:
    """Means over all places that the chosen item may take among those that tie with it."""
    collected = {}
    for prefix, one in zip(("", "new_items_"), ranks, strict=True):
        places = [
            np.arange(better, better + tied + 1) + 1
            for better, tied in zip(one.better[rows], one.tied[rows], strict=True)
        ]
        for k in RETRIEVAL_CUTOFFS:
            collected[f"{prefix}recall_at_{k}"] = np.mean([(p <= k).mean() for p in places])
            gains = [((p <= k) / np.log2(1 + p)).mean() for p in places]
            collected[f"{prefix}ndcg_at_{k}"] = np.mean(gains)
        collected[f"{prefix}mrr"] = np.mean([(1 / p).mean() for p in places])
    return collected | {"n": np.count_nonzero(rows)}


def test_metrics_of_retrieval_are_means_over_places(tmp_path: Path) -> None:
    ranks = synthetic_ranks(4, count=90)
    random = np.random.default_rng(4)
    users = np.array([f"u{number % 15}" for number in range(90)])
    items = np.array([f"i{n}" for n in random.integers(0, 9, 90)])
    samples = RetrievalPredictions(users, items, *ranks).table().to_pandas()
    actual = evaluated(samples.assign(position=np.arange(90)), tmp_path, "retrieval")
    everybody = rank_metrics_by_hand(ranks, np.ones(90, bool))
    assert actual.metrics == pytest.approx(everybody, abs=1e-12)
    assert actual.reliability == []
    group = actual.slices["activity"]["30+"]
    assert (group.pop("share"), group.pop("sparse")) == (60 / 90, False)
    for metric in ("new_items_recall_at_10", "new_items_mrr"):
        assert group.pop(f"{metric}_low") < group[metric] < group.pop(f"{metric}_high")
    assert group == pytest.approx(rank_metrics_by_hand(ranks, np.arange(90) >= 30), abs=1e-12)
    assert actual.slices["activity"]["0-9"]["sparse"] is True


def part_of(ranks: Ranks, rows: np.ndarray) -> Ranks:
    return Ranks(ranks.better[rows], ranks.tied[rows])


def test_groups_have_the_rank_metrics_of_their_own_examples_however_they_are_batched() -> None:
    ranks = synthetic_ranks(1)
    numbers = np.arange(120) % 7
    sums = RankSums(NumberSlice("number", ["0-1", "2-6", "7+"], "number", [2, 7]))
    for rows in (np.arange(50), np.arange(50, 51), np.arange(51, 120)):
        values = rank_values(*(part_of(one, rows) for one in ranks))
        sums.add({"number": numbers[rows]}, values)
    for group, own in enumerate((numbers < 2, numbers >= 2)):
        expected = rank_metrics_by_hand(ranks, own)
        assert sums.metrics(group) == pytest.approx(expected, abs=1e-12)
    empty = sums.metrics(2)
    assert empty.pop("n") == 0 and empty.pop("reason") == "no examples"
    assert set(empty.values()) == {None} and set(empty) == set(sums.metrics(0)) - {"n"}


def test_results_do_not_depend_on_threads_or_the_order_of_the_file(tmp_path: Path) -> None:
    samples = synthetic_samples(9, rows=20_000, digits=2)
    path = written(samples, tmp_path)
    results = []
    for threads in (1, 4, 4):
        with ScoreTable(path, threads=threads) as table:
            results.append(part_metrics(table, "ctr", OPTIONS, slices_of(table)))
    assert results[1] == results[2] == results[0]
    unmixed = samples.sort_values("user_id", kind="stable")
    again = evaluated(unmixed, tmp_path).metrics
    for name in ("auc", "logloss", "gauc", "gauc_mean", "calibration_error"):
        assert again[name] == results[0].metrics[name]


def test_reliability_is_that_of_the_whole_part(tmp_path: Path) -> None:
    samples = synthetic_samples(10, digits=None)
    actual = evaluated(samples, tmp_path)
    assert len(actual.reliability) == OPTIONS.calibration_bins
    assert sum(one.n for one in actual.reliability) == len(samples)
    ordered = samples.sort_values("score")
    expected = [
        abs(rows.score.astype(float).mean() - rows.label.mean())
        for _, rows in ordered.groupby(np.arange(len(samples)) // 100)
    ]
    assert actual.metrics["calibration_error"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_further_tasks_are_judged_by_their_own_columns(tmp_path: Path) -> None:
    samples, other = synthetic_samples(11), synthetic_samples(12)
    samples["label_loved"], samples["score_loved"] = other.label, other.score
    actual = evaluated(samples, tmp_path, tasks=["loved"]).metrics
    loved = samples.assign(label=other.label, score=other.score)
    assert actual.pop("tasks") == {"loved": pytest.approx(evaluated(loved, tmp_path).metrics)}
    assert actual == evaluated(samples, tmp_path).metrics


def test_samples_of_one_class_are_refused(tmp_path: Path) -> None:
    samples = synthetic_samples(1)
    with pytest.raises(CommandError, match="^AUC needs samples of both classes"):
        evaluated(samples.assign(label=1.0), tmp_path)
    samples["label_loved"], samples["score_loved"] = 0.0, samples.score
    with pytest.raises(CommandError, match="task 'loved': AUC needs samples of both classes"):
        evaluated(samples, tmp_path, tasks=["loved"])


def test_users_of_one_class_each_leave_the_auc_of_chance(tmp_path: Path) -> None:
    samples = synthetic_samples(1)
    samples["user_id"] = samples.label.map({0.0: "a", 1.0: "b"})
    actual = evaluated(samples, tmp_path)
    assert actual.metrics["gauc"] == 0.5 and actual.metrics["gauc_mean"] is None
    assert actual.metrics["reason"] == "no user has samples of both classes"
    assert actual.slices["activity"]["0-9"]["gauc"] is None


def test_a_missing_value_that_no_sample_has_is_no_group(tmp_path: Path) -> None:
    samples = synthetic_samples(2)
    for bounds, groups in (([1000], ["low", "high", MISSING]), ([10], ["low", "high", MISSING])):
        with ScoreTable(written(samples, tmp_path)) as table:
            division = NumberSlice("position", groups, "position", bounds)
            actual = part_metrics(table, "ctr", OPTIONS, [division]).slices["position"]
        assert list(actual) == ["low", "high"]
    assert actual["low"]["share"] + actual["high"]["share"] == pytest.approx(1)


KINDS = ("mixed", "only positive", "only negative", "one each", "none")


def sample_sums() -> SampleSums:
    """Groups by number: 0 mixed, 1 only positive, 2 only negative, 3 users of one class, 4 none."""
    batch = {
        "number": np.array([0, 0, 0, 1, 1, 2, 3, 3]),
        "user_id": np.array([0, 0, 0, 1, 2, 2, 3, 4]),
        "label": np.array([1, 0, 1, 1, 1, 0, 0, 1]),
        "score": np.array([0.8, 0.5, 0.2, 0.5, 0.75, 0.25, 0.5, 0.75]),
    }
    sums = SampleSums(NumberSlice("number", KINDS, "number", [1, 2, 3, 4]), has_lists=False)
    ascending = np.argsort(batch["score"], kind="stable")
    sums.add_ascending({name: values[ascending] for name, values in batch.items()})
    sums.end_ascending()
    sums.add_users(batch)
    return sums


@pytest.mark.parametrize(
    ("group", "reason", "without_value"),
    [
        (1, "all samples have label 1", {"auc", "gauc", "gauc_mean", "normalised_entropy"}),
        (2, "all samples have label 0", {"auc", "ndcg_at_10", "mrr", "calibration_ratio"}),
        (3, "no user has samples of both classes", {"gauc", "gauc_mean"}),
        (4, "no samples", {"auc", "logloss", "gauc", "mean_score", "base_rate", "mrr"}),
    ],
)
def test_a_metric_without_a_value_is_none_with_a_reason(
    group: int, reason: str, without_value: set[str]
) -> None:
    metrics = sample_sums().metrics(group)
    assert metrics["reason"] == reason
    assert without_value <= {name for name, value in metrics.items() if value is None}
    assert not any(isinstance(value, float) and math.isnan(value) for value in metrics.values())
    if group == 3:
        assert metrics["auc"] == 1.0


def test_the_lacking_class_is_known_after_the_first_pass() -> None:
    sums = sample_sums()
    assert [sums.missing_class(group) for group in (0, 3)] == [None, None]
    assert sums.missing_class(4) == "no samples"


def curve_of(labels: np.ndarray, scores: np.ndarray, bins: int, cuts: list[int]) -> list:
    order = np.argsort(scores, kind="stable")
    labels, scores = labels[order], scores[order]
    curve, sums = ReliabilityCurve(len(labels), bins), ScoreSums(1)
    parts = zip(np.split(labels, cuts), np.split(scores, cuts), strict=True)
    for some_labels, some_scores in parts:
        curve.add(sums.add(np.zeros(len(some_labels), int), some_labels, some_scores))
    curve.add(sums.finish())
    return curve.bins()


@pytest.mark.parametrize("cuts", [[], [3, 99, 100, 101]])
def test_bins_of_distinct_scores_are_scikit_learns_quantile_bins(cuts: list[int]) -> None:
    random = np.random.default_rng(1)
    scores = random.permutation(np.linspace(0.01, 0.99, 400))
    labels = (random.random(400) < scores**2).astype(int)
    bins = curve_of(labels, scores, 20, cuts)
    shares, means = calibration_curve(labels, scores, n_bins=20, strategy="quantile")
    assert [each.share_positive for each in bins] == pytest.approx(list(shares))
    assert [each.mean_score for each in bins] == pytest.approx(list(means))
    assert {each.n for each in bins} == {20}
    assert all(
        before.lowest <= before.mean_score <= before.highest < after.lowest
        for before, after in zip(bins, bins[1:], strict=False)
    )
    expected = np.mean(np.abs(shares - means))
    assert calibration_error(bins) == pytest.approx(expected)


def test_equal_scores_are_never_parted() -> None:
    scores = np.array([0.1] * 5 + [0.2] * 4 + [0.7])
    labels = np.array([0, 0, 0, 0, 1, 1, 0, 1, 0, 1])
    bins = curve_of(labels, scores, 5, [2, 7])
    # Places 0-4 are in the bin of place 0, 5-8 in that of place 5, and 9 in the last.
    assert [(each.lowest, each.n) for each in bins] == [(0.1, 5), (0.2, 4), (0.7, 1)]
    assert [each.share_positive for each in bins] == [0.2, 0.5, 1.0]


def test_the_error_is_the_mean_distance_weighted_by_samples() -> None:
    bins = [ReliabilityBin(0, 1, 0.3, 0.5, 30), ReliabilityBin(0, 1, 0.9, 0.8, 10)]
    assert calibration_error(bins) == pytest.approx((30 * 0.2 + 10 * 0.1) / 40)


def test_groups_without_a_list_have_no_means() -> None:
    sums = ListSums(2)
    sums.add(np.zeros(2, int), np.array([0, 0]), np.array([0, 0]), np.array([0.5, 0.4]))
    for group in range(2):
        assert sums.gauc(group) == {"gauc": None, "gauc_mean": None}
        assert set(sums.quality(group).values()) == {None}
    assert sums.users.tolist() == sums.lists.tolist() == [1, 0]


def test_the_fixed_order_is_of_no_use_to_a_model_that_knows_nothing() -> None:
    rows = np.arange(40_000)
    order = shuffled_order(rows)
    assert order.dtype == np.uint64 and len(set(order.tolist())) == len(rows)
    np.testing.assert_array_equal(shuffled_order(rows[::-1]), order[::-1])
    # Users of one positive sample and, behind it in the file, three sampled negatives.
    places = order.reshape(-1, 4).argsort(axis=1).argsort(axis=1)
    assert (1 / (1 + places[:, 0])).mean() == pytest.approx(
        (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4, abs=0.01
    )


def test_the_fixed_order_is_that_of_splitmix64() -> None:
    # The first outputs of the generator with state 0, which adds its constant before mixing.
    assert int(shuffled_order(np.array([0]))[0]) == 0xE220A8397B1DCDAF


FILE_COLUMNS = {
    "din": ["user_id", "item_id", "label", "score"],
    "prm": ["list_id", "user_id", "item_id", "label", "score"],
    "two_tower": ["user_id", "item_id", "rank", "rank_new_items", "tied", "tied_new_items"],
}


@pytest.mark.parametrize("backbone", ["din", "prm", "two_tower"])
def test_a_run_has_the_metrics_of_predictions_in_memory(backbone: str, tmp_path: Path) -> None:
    run = rich_run(backbone)
    path = tmp_path / "scores.parquet"
    scores = run_scores(run.scenario, run.model, "test")
    actual = evaluate_scores_of(scores, slice_names(run.scenario), path)
    examples = shared_store().examples(run.scenario, run.model, "test")
    expected = predictor_of(run.model).predict(examples).metrics()
    assert {name: actual.metrics[name] for name in expected} == pytest.approx(expected, abs=1e-6)
    table = pq.read_table(path)
    features = ["position", "profile_city", "profile_age"]
    assert table.column_names == [*FILE_COLUMNS[backbone], *features]
    assert table.num_rows == actual.metrics["n"]
    assert list(actual.slices) == slice_names(run.scenario)
    for groups in actual.slices.values():
        assert sum(metrics["share"] for metrics in groups.values()) == pytest.approx(
            sum(metrics["n"] for metrics in groups.values()) / table.num_rows
        )
        assert sum(metrics["n"] for metrics in groups.values()) >= table.num_rows


def test_the_file_is_enough_for_scikit_learn_and_only_as_wide_as_asked(tmp_path: Path) -> None:
    run = rich_run("din", tasks=True)
    path = tmp_path / "scores.parquet"
    actual = evaluate_scores_of(run_scores(run.scenario, run.model, "test"), (), path)
    table = pq.read_table(path).to_pandas()
    assert list(table) == [*FILE_COLUMNS["din"], "label_loved", "score_loved"]
    for metrics, suffix in ((actual.metrics, ""), (actual.metrics["tasks"]["loved"], "_loved")):
        labels, scores = table[f"label{suffix}"], table[f"score{suffix}"]
        in_memory = evaluate_scores(labels.to_numpy(), scores.to_numpy(), table.user_id.to_numpy())
        assert {name: metrics[name] for name in in_memory} == in_memory
        assert metrics["auc"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
        assert metrics["logloss"] == pytest.approx(
            log_loss(labels, scores.astype(float)), abs=1e-12
        )
    assert actual.slices == {}
