from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import collaborative_matrix
from benchmarks.collaborative_matrix import candidate_matrix
from tests.scenarios import tiny_config

USERS = np.array([5, 5, 5, 7, 7, 9])
ITEMS = np.array([0, 1, 2, 0, 1, 0])
RATINGS = np.array([5.0, 2.0, 4.0, 3.0, 1.0, 4.5])
USED = np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]], float)
RATED = np.array([[5, 2, 4, 0], [3, 1, 0, 0], [4.5, 0, 0, 0]])


def dense(name: str) -> np.ndarray:
    return candidate_matrix(name, USERS, ITEMS, RATINGS, 4).toarray()


def up_to_scale(matrix: np.ndarray) -> np.ndarray:
    return matrix / np.linalg.norm(matrix)


def test_matrices_are_those_of_their_formulas() -> None:
    used = np.log1p(3 / np.array([3, 2, 1, 1])) * USED / np.sqrt([[3], [2], [1]])
    by_popularity = USED / np.sqrt([[3], [2], [1]]) / np.sqrt([3, 2, 1, 1])
    np.testing.assert_allclose(up_to_scale(dense("used")), up_to_scale(used))
    np.testing.assert_allclose(
        up_to_scale(dense("used, by popularity")), up_to_scale(by_popularity)
    )
    np.testing.assert_allclose(up_to_scale(dense("used x rating")), up_to_scale(used * RATED))


def test_halves_are_weighed_by_their_norms() -> None:
    stacked = dense("used + 0.2 ratings")
    np.testing.assert_allclose(stacked[:3], dense("used"))
    np.testing.assert_allclose(stacked[3:], 0.2 * dense("ratings"))
    np.testing.assert_allclose(np.linalg.norm(dense("ratings")), np.linalg.norm(stacked[:3]))


def test_the_chosen_matrix_is_that_of_the_step() -> None:
    chosen = collaborative_matrix.stacked_matrix(USERS, ITEMS, RATINGS, 4).toarray()
    halves = np.concatenate([chosen[::2], chosen[1::2]])
    np.testing.assert_allclose(dense("used + 0.5 ratings"), halves)


@pytest.mark.slow
def test_every_measure_is_a_json_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    few = {"ratings": (0.0, 1.0), "used": (1.0,)}
    monkeypatch.setattr(collaborative_matrix, "_CANDIDATES", few)
    collaborative_matrix.main(["--config", str(tiny_config()), "--width", "4", "--seed", "3"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["matrix"], line["singular_power"]) for line in lines] == [
        ("none", None),
        ("random vectors", None),
        ("ratings", 0.0),
        ("ratings", 1.0),
        ("used", 1.0),
    ]
    assert {(line["width"], line["seed"], line["form"]) for line in lines} == {(4, 3, "low_rank")}
    # The scenario's users differ in their tastes, which resemblance of ratings finds.
    aucs = [line["validation_auc"] for line in lines]
    assert max(aucs[2:]) > aucs[0] > 0.4
    assert len(set(aucs)) > 2
