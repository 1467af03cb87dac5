from __future__ import annotations

import numpy as np
import pytest

from models.match.kinds import MatchMethod
from models.match.tables import MatchTables, Reduction, TableSizes
from tests.models.match.histories import item_vectors


def knowledge_vectors() -> np.ndarray:
    return np.random.default_rng(5).normal(size=[20, 8]).astype(np.float32) + 2


def centred_units(vectors: np.ndarray) -> np.ndarray:
    centred = vectors - vectors.mean(axis=0)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def test_means_table_has_whitened_directions() -> None:
    vectors = knowledge_vectors().astype(np.float64)
    table = MatchTables.from_vectors(MatchMethod("means"), vectors, 8).table
    centred = vectors - vectors.mean(axis=0)
    # Cosines of whitened vectors, whatever the basis: x' C^-1 y, scaled to length 1.
    products = centred @ np.linalg.inv(centred.T @ centred) @ centred.T
    lengths = np.sqrt(np.diag(products))
    np.testing.assert_array_equal(table[0], 0)
    np.testing.assert_allclose(
        table[1:] @ table[1:].T, products / np.outer(lengths, lengths), atol=1e-4
    )


def test_ridge_table_reproduces_the_kernel_of_the_method() -> None:
    vectors = knowledge_vectors().astype(np.float64)
    table = MatchTables.from_vectors(MatchMethod("ridge"), vectors, 20).table
    unit = centred_units(vectors)
    np.testing.assert_array_equal(table[0], 0)
    np.testing.assert_allclose(
        table[1:] @ table[1:].T, 0.3 + np.exp((unit @ unit.T - 1) / 0.5), atol=1e-4
    )
    assert MatchTables.from_vectors(MatchMethod("ridge"), vectors, 6).table.shape == (21, 7)


def test_the_exact_form_keeps_the_vectors() -> None:
    tables = MatchTables.from_vectors(MatchMethod("ridge", "exact"), knowledge_vectors(), 3)
    np.testing.assert_allclose(tables.table[1:], centred_units(knowledge_vectors()), atol=1e-6)


def test_the_learned_form_keeps_cosines_with_the_landmarks() -> None:
    method = MatchMethod("ridge", learned=True)
    tables = MatchTables.from_vectors(method, knowledge_vectors(), 20)
    assert tables.reduction is not None
    assert tables.landmark_cosines is not None
    landmarks = tables.reduction.basis.T
    np.testing.assert_allclose(
        tables.table[1:], centred_units(knowledge_vectors()) @ landmarks.T, atol=1e-6
    )
    np.testing.assert_allclose(tables.landmark_cosines[0], landmarks @ landmarks.T, atol=1e-6)


@pytest.mark.parametrize("kind", ["means", "ridge"])
def test_missing_vectors_have_no_part_in_the_others(kind: str) -> None:
    vectors = item_vectors()
    tables = MatchTables.from_vectors(MatchMethod(kind), vectors, 4)
    assert tables.known.tolist() == [False, True, True, True, False, *[True] * 8]
    assert not tables.table[4].any()
    present = MatchTables.from_vectors(MatchMethod(kind), np.delete(vectors, 3, axis=0), 4)
    np.testing.assert_allclose(np.delete(tables.table, 4, axis=0), present.table, atol=1e-6)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("kind", ["means", "ridge"])
def test_every_fold_has_a_basis_of_its_own(kind: str, learned: bool) -> None:
    method = MatchMethod(kind, learned=learned)
    # The second fold has fewer distinct vectors, and so fewer directions or landmarks.
    few = np.repeat(item_vectors(9)[:3], 4, axis=0)
    folds = [item_vectors(8), few]
    tables = MatchTables.from_vectors(method, item_vectors(), 5, folds)
    own = [MatchTables.from_vectors(method, vectors, 5).table for vectors in folds]
    np.testing.assert_allclose(tables.fold_tables[0], own[0], atol=1e-6)
    width = own[1].shape[1]
    assert width < tables.table.shape[1]
    np.testing.assert_allclose(tables.fold_tables[1][:, :width], own[1], atol=1e-6)
    assert tables.sizes.num_folds == 2
    assert tables.fold_known.shape == (2, 13)


def test_new_items_go_through_the_same_reduction() -> None:
    method = MatchMethod("ridge")
    reduction = Reduction.fit(method, knowledge_vectors(), 6)
    table = MatchTables.from_vectors(method, knowledge_vectors(), 6).table
    new = np.concatenate([knowledge_vectors()[3:5], np.zeros([1, 8])])
    np.testing.assert_allclose(reduction.apply(method, new)[:2], table[4:6], atol=1e-6)
    assert not reduction.apply(method, new)[2].any()


def test_a_ready_table_has_no_reduction() -> None:
    tables = MatchTables.of_rows(np.array([[0, 0], [1, 2], [0, 0]]))
    assert tables.known.tolist() == [False, True, False]
    assert tables.sizes == TableSizes(num_rows=3, width=2)
