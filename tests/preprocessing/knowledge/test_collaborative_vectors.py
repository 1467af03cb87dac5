from __future__ import annotations

import hashlib

import numpy as np
import pytest

from configs.knowledge import CollaborativeVectors
from preprocessing.interactions.training_log import TrainingLog
from preprocessing.knowledge.control_vectors import collaborative_vectors, stacked_matrix

FOLDS = 10


def fold_of(user: str) -> int:
    digest = hashlib.blake2b(user.encode(), digest_size=8, key=b"fold").digest()
    return int.from_bytes(digest, "little") % FOLDS


def dense_matrix(rows: list[tuple[str, int, float]], items: int) -> np.ndarray:
    """M of the formula, user by user and item by item."""
    users = sorted({user for user, _, _ in rows})
    ratings = {
        (user, item): np.mean([r for u, i, r in rows if (u, i) == (user, item)])
        for user, item, _ in rows
    }
    mu = np.mean(list(ratings.values()))
    users_of = [sum((user, item) in ratings for user in users) for item in range(items)]
    items_of = {user: sum((user, item) in ratings for item in range(items)) for user in users}
    item_mean = [
        (sum(r for (_, i), r in ratings.items() if i == item) + 5 * mu) / (users_of[item] + 5)
        for item in range(items)
    ]
    user_mean = {
        user: sum(r - item_mean[i] for (u, i), r in ratings.items() if u == user)
        / (items_of[user] + 5)
        for user in users
    }
    used = np.zeros((len(users), items))
    rest = np.zeros((len(users), items))
    for (user, item), rating in ratings.items():
        row = users.index(user)
        used[row, item] = np.log(1 + len(users) / users_of[item]) / np.sqrt(items_of[user])
        rest[row, item] = rating - item_mean[item] - user_mean[user]
    present = sum(count > 0 for count in users_of)
    halves = [used / np.linalg.norm(used), 0.5 * rest / np.linalg.norm(rest)]
    return np.sqrt(present) * np.concatenate(halves)


def random_rows(seed: int = 0) -> list[tuple[str, int, float]]:
    random = np.random.default_rng(seed)
    rows = [
        (f"u{random.integers(30)}", int(random.integers(11)), float(random.integers(1, 6)))
        for _ in range(160)
    ]
    return sorted(rows, key=lambda row: row[0])


def log_of(rows: list[tuple[str, int, float]], items: int = 12) -> TrainingLog:
    users = sorted({user for user, _, _ in rows})
    return TrainingLog(
        users=users,
        items=[f"i{item}" for item in range(items)],
        user_of_row=np.array([users.index(user) for user, _, _ in rows], np.int32),
        item_of_row=np.array([item for _, item, _ in rows], np.int32),
        ratings=np.array([rating for _, _, rating in rows]),
    )


def made(log: TrainingLog, **settings: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(collaborative_vectors(log, CollaborativeVectors(**settings)))


@pytest.mark.parametrize("dimension", [4, 11, 20])
def test_vectors_are_those_of_a_dense_svd(dimension):
    rows = random_rows()
    found = made(log_of(rows), dimension=dimension)
    assert len(found) == FOLDS + 1
    for number, (vectors, good) in enumerate(found):
        kept = [row for row in rows if number == 0 or fold_of(row[0]) != number - 1]
        _, singular, right = np.linalg.svd(dense_matrix(kept, 12), full_matrices=False)
        expected = (right.T * singular)[:, :dimension]
        assert vectors.shape == (12, dimension) and vectors.dtype == np.float16
        # Components are unique up to their signs, their inner products even so.
        np.testing.assert_allclose(
            vectors.astype(float) @ vectors.T.astype(float), expected @ expected.T, atol=4e-3
        )
        width = min(dimension, 11)
        np.testing.assert_allclose(
            np.abs(vectors[:, :width]), np.abs(expected[:, :width]), atol=4e-3
        )
        assert not vectors[:, width:].any()
        assert good.tolist() == [any(item == i for _, i, _ in kept) for item in range(12)]
        assert not vectors[~good].any()


def test_the_users_of_a_fold_leave_no_trace_in_the_vectors_without_it():
    rows = random_rows()
    fold = fold_of("u3")
    assert any(row[0] == "u3" for row in rows)
    other = [
        (user, (item + 5) % 12, 6 - rating) if user == "u3" else (user, item, rating)
        for user, item, rating in rows
    ]
    before, after = made(log_of(rows), dimension=5), made(log_of(other), dimension=5)
    for number, ((first, _), (second, _)) in enumerate(zip(before, after, strict=True)):
        assert (first.tobytes() == second.tobytes()) == (number == fold + 1), number


def test_ratings_alone_change_vectors_and_seeds_give_equal_bytes():
    rows = random_rows()
    higher = [(user, item, rating + (user < "u2")) for user, item, rating in rows]
    first = made(log_of(rows), dimension=5)[0][0]
    assert made(log_of(rows), dimension=5)[0][0].tobytes() == first.tobytes()
    assert made(log_of(higher), dimension=5)[0][0].tobytes() != first.tobytes()


def test_implicit_feedback_has_no_half_of_ratings():
    rows = [(user, item, 1.0) for user, item, _ in random_rows()]
    log = log_of(rows)
    matrix = stacked_matrix(log.user_of_row, log.item_of_row, log.ratings, 12)
    assert matrix.shape == (len(log.users), 12)
    assert matrix.power(2).sum() == pytest.approx(11)
    assert np.isfinite(made(log, dimension=5)[0][0]).all()


def test_a_log_without_training_interactions_gives_no_vector():
    for vectors, good in made(log_of([]), dimension=5):
        assert vectors.shape == (12, 5) and not vectors.any() and not good.any()
