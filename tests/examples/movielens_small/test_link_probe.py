from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from examples.movielens_small.link_probe import (
    ProbeSamples,
    first_interactions,
    fitted_scores,
    linked_means,
    match_features,
    user_link_features,
)
from preprocessing.links.linking import links_schema
from tests.models.match.histories import ITEMS, histories, item_vectors, plain_features


def samples(
    history: list[list[int]], items: list[int], users: list[str] | None = None
) -> ProbeSamples:
    random = np.random.default_rng(len(items))
    rows = np.array(history)
    return ProbeSamples(
        labels=np.arange(len(items)) % 2,
        users=np.array(users or ["u"] * len(items)),
        folds=np.full(len(items), -1),
        items=np.array(items),
        numeric=random.normal(size=[len(items), 4]).astype(np.float32),
        history=rows,
        residuals=random.normal(size=rows.shape).astype(np.float32),
    )


def test_match_is_kernel_ridge_regression() -> None:
    vectors = item_vectors()
    given = histories(4, 7)
    rows = np.where(given["history_mask"], given["history_rows"], 0)
    # Padding stands in front.
    order = np.argsort(rows > 0, axis=1, kind="stable")
    rows = np.take_along_axis(rows, order, axis=1)
    candidates = [5, 4, 0, 9]  # The fourth item has no vector, row 0 is no item.
    part = samples(rows.tolist(), candidates)
    actual = match_features(vectors, {"train": part}, landmarks=ITEMS)["train"]
    assert np.isnan(actual[[1, 2]]).all()
    for sample in (0, 3):
        expected = plain_features(
            "ridge",
            candidates[sample],
            rows[sample],
            part.residuals[sample],
            np.zeros(rows.shape[1]),
            rows[sample] > 0,
        )
        np.testing.assert_allclose(actual[sample], expected, rtol=1e-4)
    empty = replace(part, history=np.zeros_like(rows))
    (mean, deviation) = match_features(vectors, {"test": empty}, landmarks=ITEMS)["test"][0]
    assert mean == 0
    np.testing.assert_allclose(deviation, np.sqrt(1.3), rtol=1e-4)


def test_mean_residual_of_linked_items() -> None:
    # Item a names b and c, c names a: w_ab = 1, w_ac = 1 / 1.05 + 1.
    links = pa.Table.from_pylist(
        [
            {"item": "a", "list": "links", "name": "B", "rank": 0, "linked": "b", "how": "exact"},
            {"item": "a", "list": "links", "name": "C", "rank": 1, "linked": "c", "how": "exact"},
            {"item": "c", "list": "links", "name": "A", "rank": 0, "linked": "a", "how": "exact"},
        ],
        links_schema("item"),
    ).unify_dictionaries()
    contents = SimpleNamespace(
        item_ids=["c", "z", "b", "a"],
        rating_sum_by_fold=np.array([[0.0, 50.0], [4.0, 0.0], [10.0, 10.0], [0.0, 0.0]]),
        rating_count_by_fold=np.array([[0, 10], [1, 0], [5, 5], [0, 0]]),
    )
    actual = linked_means(contents, links)
    assert actual.shape == (5, 3)
    mean = 74 / 21
    near_b, near_c = 1 * 0.5, (1 / 1.05 + 1) * 0.5
    expected = (near_b * (2 - mean) + near_c * (5 - mean)) / (near_b + near_c + 0.3)
    np.testing.assert_allclose(actual[4, -1], expected, rtol=1e-6)
    # Without the second fold of users, c has no rating, and b five of two stars.
    mean, near_b = 14 / 6, 5 / 15
    np.testing.assert_allclose(actual[4, 1], near_b * (2 - mean) / (near_b + 0.3), rtol=1e-6)
    assert (actual[[0, 2]] == 0).all()


def test_what_an_answer_about_the_user_says() -> None:
    vectors = np.array([[3.0, 1.0], [1.0, 3.0], [-1.0, 1.0], [1.0, -1.0], [0.0, 0.0]], np.float32)
    rows = [
        ("u", "liked", "a"),
        ("u", "liked", "b"),
        ("u", "liked", None),
        ("u", "disliked", "c"),
        ("other", "liked", "d"),
    ]
    links = pa.Table.from_pylist(
        [
            {"user": user, "list": kind, "name": "", "rank": 0, "linked": item, "how": "exact"}
            for user, kind, item in rows
        ],
        links_schema("user"),
    )
    part = samples([[0]] * 4, [1, 3, 5, 1], ["u", "u", "u", "unasked"])
    actual = user_link_features(vectors, links, "abcde", part.users, part.items)
    # Less the mean (1, 1): a (1, 0), b (0, 1), c (-1, 0) as unit vectors; e has none.
    root = np.sqrt(0.5)
    towards = np.array([1.5, 0.5]) / np.hypot(1.5, 0.5)
    np.testing.assert_allclose(
        actual,
        [[root, 1, -1, 0, towards[0]], [-root, 0, 1, 1, -towards[0]], [0] * 5, [0] * 5],
        atol=1e-6,
    )


def test_only_first_interactions_are_known() -> None:
    train = samples([[0, 7, 8], [6, 7, 8], [0, 0, 5]], [1, 2, 3], ["u", "u", "v"])
    test = samples([[7, 8, 9], [5, 1, 2]], [4, 4], ["u", "v"])
    actual = first_interactions({"train": train, "test": test}, most=2)
    assert actual["train"].history.tolist() == [[7, 8], [7, 8], [0, 5]]
    assert actual["test"].history.tolist() == [[7, 8], [0, 5]]
    np.testing.assert_array_equal(actual["test"].residuals, train.residuals[[0, 2], 1:])
    np.testing.assert_array_equal(actual["test"].numeric[:, :3], train.numeric[[0, 2], :3])
    np.testing.assert_array_equal(actual["test"].numeric[:, 3], test.numeric[:, 3])
    assert actual["test"].items.tolist() == [4, 4]


def test_regression_is_fitted_on_train_and_reads_what_is_not_known_as_the_mean() -> None:
    train = samples([[0]] * 40, [1] * 40)
    signal = np.where(train.labels == 1, 3.0, 1.0)[:, np.newaxis]
    test = samples([[0]] * 3, [1] * 3)
    test = replace(test, numeric=np.zeros_like(test.numeric))
    block = {"train": signal, "test": np.array([[3.0], [np.nan], [1.0]])}
    scores = fitted_scores({"train": train, "test": test}, [block])
    assert list(scores) == ["test"]
    high, unknown, low = scores["test"]
    np.testing.assert_allclose(unknown, (high + low) / 2)
    assert high > unknown > low
