from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.linalg

from configs.command_line import CommandError
from preprocessing.links.spectral import (
    LinkGraph,
    LinkVectors,
    link_graph,
    read_link_vectors,
    spectral_vectors,
)

Links = list[tuple[int, int, int]]


def graph_of(links: Links, items: int, outside: int = 0) -> LinkGraph:
    """Items i0, i1, ..., outside names o0, o1, ..., and (item, linked, rank)."""
    columns = np.array(links, int).reshape(-1, 3).T
    return link_graph([f"i{n}" for n in range(items)], [f"o{n}" for n in range(outside)], *columns)


def kernel(vectors: LinkVectors) -> np.ndarray:
    return vectors.vectors.astype(np.float64) @ vectors.vectors.T


def dense_kernel(weights: np.ndarray, dimension: int) -> np.ndarray:
    """V V^T by NumPy alone, of the leading eigenpairs of a graph in one piece."""
    root = np.sqrt(weights.sum(axis=1))
    values, vectors = np.linalg.eigh(weights / root / root[:, np.newaxis])
    leading = slice(len(values) - min(dimension, len(values)), None)
    return (vectors[:, leading] / (1 - 0.9 * values[leading])) @ vectors[:, leading].T


def clustered_links(clusters: int, size: int, seed: int = 0, inside: float = 0.9) -> Links:
    """Six names an item, most of them of its own cluster; item n belongs to n // size."""
    generator = np.random.default_rng(seed)
    links = []
    for item in range(clusters * size):
        own = item // size * size
        for rank in range(6):
            near = own + int(generator.integers(size))
            far = int(generator.integers(clusters * size))
            links.append((item, near if generator.random() < inside else far, rank))
    return links


PATH: Links = [(0, 1, 0), (2, 1, 0)]


def test_weights_of_ranks_directions_duplicates_and_self_links() -> None:
    links = [(0, 1, 0), (1, 0, 20), (0, 2, 4), (0, 2, 1), (1, 1, 0), (0, 3, 10)]
    graph = graph_of(links, items=3, outside=1)
    weights = [
        [0, 1 + 1 / 2, 1 / 1.05, 1 / 1.5],
        [1 + 1 / 2, 0, 0, 0],
        [1 / 1.05, 0, 0, 0],
        [1 / 1.5, 0, 0, 0],
    ]
    np.testing.assert_allclose(graph.weights.toarray(), weights, rtol=1e-6)
    np.testing.assert_allclose(graph.degrees, np.sum(weights, axis=1), rtol=1e-6)
    assert graph.outside.to_pylist() == ["o0"]


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ((3, 0, 0), r"item_of_link.*\[0, 3\)"),
        ((0, 4, 0), r"linked.*\[0, 4\)"),
        ((0, 1, -1), "ranks"),
    ],
)
def test_links_out_of_range_are_refused(link: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        graph_of([link], items=3, outside=1)


def test_path_of_three() -> None:
    """S has the eigenvalues 1, 0 and -1."""
    vectors = spectral_vectors(graph_of(PATH, items=3), dimension=2)
    np.testing.assert_allclose(vectors.eigenvalues, [1, 0], atol=1e-7)
    tenth, root = np.sqrt(0.1), np.sqrt(0.5)
    np.testing.assert_allclose(
        vectors.vectors,
        [[0.5 / tenth, root], [root / tenth, 0], [0.5 / tenth, -root]],
        atol=1e-6,
    )


def test_ring_of_four_has_a_double_eigenvalue() -> None:
    ring = [(0, 1, 0), (1, 2, 0), (2, 3, 0), (3, 0, 0)]
    vectors = spectral_vectors(graph_of(ring, items=4), dimension=3)
    np.testing.assert_allclose(vectors.eigenvalues, [1, 0, 0], atol=1e-7)
    opposite = np.array([[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1]])
    np.testing.assert_allclose(kernel(vectors), 10 / 4 + opposite / 2, atol=1e-5)


@pytest.mark.parametrize("dimension", [1, 5, 40, 500])
def test_kernel_of_a_dense_decomposition(dimension: int) -> None:
    graph = graph_of(clustered_links(6, 20), items=120)
    vectors = spectral_vectors(graph, dimension)
    assert vectors.vectors.shape == (120, min(dimension, 120))
    expected = dense_kernel(graph.weights.toarray().astype(np.float64), dimension)
    np.testing.assert_allclose(kernel(vectors), expected, atol=2e-5)


@pytest.mark.parametrize(("damping", "smoothness"), [(0.9, 1), (0.5, 1), (0.97, 2), (0.8, 3.5)])
def test_damping_and_smoothness_make_a_matern_kernel(
    damping: float, smoothness: float, tmp_path: Path
) -> None:
    graph = graph_of(clustered_links(4, 10), items=40)
    vectors = spectral_vectors(graph, 40, damping=damping, smoothness=smoothness)
    weights = graph.weights.toarray().astype(np.float64)
    root = np.sqrt(weights.sum(axis=1))
    damped = np.eye(40) - damping * weights / root / root[:, np.newaxis]
    expected = scipy.linalg.fractional_matrix_power(damped, -smoothness)
    np.testing.assert_allclose(kernel(vectors), expected, rtol=1e-3, atol=1e-3)
    assert 0.7 < vectors.scale * np.sqrt(np.mean(np.diag(kernel(vectors)))) < 1.5
    assert vectors.drift(graph) < 1e-5
    vectors.write(str(tmp_path / "vectors.arrow"))
    read = read_link_vectors(str(tmp_path / "vectors.arrow"))
    assert (read.damping, read.smoothness) == (damping, smoothness)
    # Rows of few items are long ones, and stay as they are.
    updated = read.updated(graph, ["i3", "i30"])
    reached = np.abs(vectors.eigenvalues) >= 0.1
    np.testing.assert_allclose(
        updated.vectors[:, reached], vectors.vectors[:, reached], rtol=1e-3, atol=1e-3
    )


def test_a_file_without_damping_is_of_the_default(vectors: LinkVectors, tmp_path: Path) -> None:
    path = tmp_path / "vectors.arrow"
    vectors.write(str(path))
    with pa.ipc.open_file(str(path)) as reader:
        table = reader.read_all()
    pairs = json.loads(table.schema.metadata[b"eigenpairs"])
    del pairs["damping"], pairs["smoothness"]
    older = {**table.schema.metadata, b"eigenpairs": json.dumps(pairs)}
    with (
        pa.OSFile(str(path), "wb") as file,
        pa.ipc.new_file(file, table.schema.with_metadata(older)) as writer,
    ):
        writer.write_table(table.replace_schema_metadata(older))
    read = read_link_vectors(str(path))
    np.testing.assert_array_equal(read.lengths, np.sqrt(1 - 0.9 * read.eigenvalues).astype("f4"))


def test_all_dimensions_make_the_whole_kernel() -> None:
    graph = graph_of(clustered_links(4, 10), items=40)
    weights = graph.weights.toarray().astype(np.float64)
    root = np.sqrt(weights.sum(axis=1))
    whole = np.linalg.inv(np.eye(40) - 0.9 * weights / root / root[:, np.newaxis])
    np.testing.assert_allclose(kernel(spectral_vectors(graph, 64)), whole, atol=2e-5)


@pytest.mark.parametrize("size", [20, 60])
def test_planted_clusters_are_recovered(size: int) -> None:
    """Of 400 items, decomposed whole, and of 1,200, decomposed step by step."""
    graph = graph_of(clustered_links(20, size), items=20 * size)
    rows = spectral_vectors(graph, dimension=20).vectors
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    nearest = cosines.argmax(axis=1)
    assert np.mean(nearest // size == np.arange(len(rows)) // size) > 0.99


def test_order_of_links_decides_no_bit() -> None:
    links = clustered_links(20, 60)
    shuffled = [links[n] for n in np.random.default_rng(1).permutation(len(links))]
    one, other = (spectral_vectors(graph_of(order, 1200), 16) for order in (links, shuffled))
    assert one.vectors.tobytes() == other.vectors.tobytes()
    assert one.eigenvalues.tobytes() == other.eigenvalues.tobytes()


def test_order_of_items_permutes_rows() -> None:
    links = clustered_links(20, 60)
    place = np.random.default_rng(1).permutation(1200)
    moved = [(place[item], place[linked], rank) for item, linked, rank in links]
    one, other = (spectral_vectors(graph_of(named, 1200), 20, 1e-5) for named in (links, moved))
    np.testing.assert_allclose(kernel(other)[np.ix_(place, place)], kernel(one), atol=1e-3)


def test_items_without_links_have_no_vector() -> None:
    links = [(item + 2, linked + 2, rank) for item, linked, rank in PATH]
    alone = spectral_vectors(graph_of(links, items=6), dimension=3)
    assert alone.vectors.any(axis=1).tolist() == [False, False, True, True, True, False]
    np.testing.assert_array_equal(
        alone.vectors[2:5], spectral_vectors(graph_of(PATH, items=3), dimension=3).vectors
    )


@pytest.mark.parametrize(("items", "links"), [(0, []), (3, []), (2, [(1, 1, 0)])])
def test_graph_without_links_is_refused(items: int, links: Links) -> None:
    with pytest.raises(CommandError, match="no item is linked to another"):
        spectral_vectors(graph_of(links, items))


def test_more_links_than_can_be_numbered_are_refused() -> None:
    counted_only: Any = SimpleNamespace(nnz=2**31)
    graph = replace(graph_of([(0, 1, 0)], 2), weights=counted_only)
    with pytest.raises(CommandError, match="2,147,483,648 entries.*links.names"):
        spectral_vectors(graph)


def test_each_piece_has_its_constant_the_largest_first() -> None:
    pair_and_triangle = [(1, 4, 0), (0, 2, 0), (2, 3, 0), (3, 0, 0)]
    vectors = spectral_vectors(graph_of(pair_and_triangle, items=5), dimension=3)
    np.testing.assert_allclose(vectors.eigenvalues, [1, 1, -0.5], atol=1e-6)
    third, half = np.sqrt(10 / 3), np.sqrt(10 / 2)
    np.testing.assert_allclose(
        vectors.vectors[:, :2],
        [[third, 0], [0, half], [third, 0], [third, 0], [0, half]],
        rtol=1e-6,
    )


def test_many_small_pieces_leave_dimensions_to_a_large_one() -> None:
    large = clustered_links(3, 20)
    pairs = [(60 + 2 * pair, 61 + 2 * pair, 0) for pair in range(40)]
    vectors = spectral_vectors(graph_of(large + pairs, items=140), dimension=8)
    assert np.flatnonzero(vectors.vectors.any(axis=1)).tolist() == list(range(66))
    np.testing.assert_allclose(vectors.eigenvalues[:4], 1, rtol=1e-6)
    alone = spectral_vectors(graph_of(large, items=60), dimension=5)
    np.testing.assert_allclose(vectors.eigenvalues[4:], alone.eigenvalues[1:], atol=1e-6)


def test_pieces_of_a_dimension_s_size_are_all_kept() -> None:
    cliques = [
        (5 * clique + one, 5 * clique + other, 0)
        for clique in range(8)
        for one in range(5)
        for other in range(one)
    ]
    vectors = spectral_vectors(graph_of(cliques, items=40), dimension=8)
    assert vectors.vectors.any(axis=1).all()
    np.testing.assert_allclose(kernel(vectors), np.kron(np.eye(8), np.full((5, 5), 2)), atol=1e-5)


def test_item_linked_to_everything() -> None:
    star = [(item, 0, 0) for item in range(1, 1500)]
    vectors = spectral_vectors(graph_of(star, items=1500), dimension=4)
    np.testing.assert_allclose(vectors.eigenvalues, [1, 0, 0, 0], atol=1e-4)
    assert vectors.residuals.max() < 1e-3
    roots = np.sqrt(vectors.degrees / vectors.degrees.sum())
    np.testing.assert_allclose(vectors.vectors[:, 0], roots * np.sqrt(10), rtol=1e-5)


@pytest.fixture(name="graph", scope="module")
def _graph() -> LinkGraph:
    links = clustered_links(8, 30)
    shared = [(item, 240 + item % 3, 2) for item in range(0, 240, 9)]
    return graph_of(links + shared, items=240, outside=3)


@pytest.fixture(name="vectors", scope="module")
def _vectors(graph: LinkGraph) -> LinkVectors:
    return spectral_vectors(graph, dimension=16)


def test_update_of_unchanged_items_reproduces_their_rows(
    graph: LinkGraph, vectors: LinkVectors
) -> None:
    changed = [f"i{item}" for item in range(0, 240, 7)]
    updated = vectors.updated(graph, changed)
    here = np.zeros(243, bool)
    here[:240:7] = True
    np.testing.assert_allclose(updated.vectors[here], vectors.vectors[here], atol=1e-5)
    assert updated.vectors[~here].tobytes() == vectors.vectors[~here].tobytes()


def test_row_of_a_new_item_by_hand() -> None:
    """Linked to the middle of a path: its degree is 1, that of the middle becomes 3."""
    vectors = spectral_vectors(graph_of(PATH, items=3), dimension=3)
    updated = vectors.updated(graph_of([*PATH, (3, 1, 0)], items=4), [])
    assert updated.vectors[:3].tobytes() == vectors.vectors.tobytes()
    middle = vectors.vectors[1] / np.sqrt(3)
    np.testing.assert_allclose(updated.vectors[3], [middle[0], 0, -middle[2]], rtol=1e-6)
    np.testing.assert_allclose(updated.degrees, [1, 3, 1, 1])


def test_changed_items_change_alone_and_removed_ones_go(
    graph: LinkGraph, vectors: LinkVectors
) -> None:
    """Item 5 links to another cluster now, item 0 and name o1 are gone, and others moved up."""
    links = [
        (item, linked, rank)
        for item, linked, rank in clustered_links(8, 30)
        if 0 not in (item, linked) and item != 5
    ]
    links += [(5, 200 + rank, rank) for rank in range(6)]
    columns = np.array(links).T - [[1], [1], [0]]
    kept = [f"i{item}" for item in range(1, 240)]
    now = link_graph(kept, ["o2", "o0"], *columns)
    updated = vectors.updated(now, ["i5"])
    assert updated.items.to_pylist() == kept
    others = np.arange(239) != 4
    assert updated.vectors[:239][others].tobytes() == vectors.vectors[1:240][others].tobytes()
    np.testing.assert_array_equal(updated.vectors[239:], vectors.vectors[[242, 240]])
    weights = now.weights.toarray().astype(np.float64)
    root = np.sqrt(np.maximum(weights.sum(axis=1), 1e-9))
    rows = np.concatenate([vectors.vectors[1:240], vectors.vectors[[242, 240]]])
    expected = (weights[4] / root[4] / root) @ rows / vectors.eigenvalues
    np.testing.assert_allclose(updated.vectors[4], expected, atol=1e-5)


def test_item_that_loses_its_links_loses_its_vector() -> None:
    vectors = spectral_vectors(graph_of(PATH, items=3), dimension=2)
    updated = vectors.updated(graph_of(PATH[:1], items=3), ["i2"])
    assert updated.vectors.any(axis=1).tolist() == [True, True, False]


def test_a_dimension_of_a_small_eigenvalue_is_not_extended() -> None:
    vectors = spectral_vectors(graph_of(PATH, items=3), dimension=3)
    vectors = replace(vectors, eigenvalues=np.array([1, 0.11, -0.09]))
    updated = vectors.updated(graph_of([*PATH, (3, 0, 0)], items=4), [])
    assert (updated.vectors[3] != 0).tolist() == [True, True, False]


def test_one_extension_after_another_stays_finite() -> None:
    """Of few items, whose eigenvectors are many and small: no row u_i is longer than 1."""
    random = np.random.default_rng(0)
    ends = random.integers(0, 60, [60 * 6, 2])
    links = [(one, other, 0) for one, other in ends]
    vectors = spectral_vectors(graph_of(links, items=60), dimension=128)
    for _ in range(30):
        ends = np.where(
            random.random([len(ends), 1]) < 0.25, random.integers(0, 60, ends.shape), ends
        )
        links = [(one, other, 0) for one, other in ends]
        changed = [f"i{item}" for item in random.choice(60, 15, replace=False)]
        vectors = vectors.updated(graph_of(links, items=60), changed)
    lengths = np.linalg.norm(vectors.vectors * np.sqrt(1 - 0.9 * vectors.eigenvalues), axis=1)
    assert np.isfinite(lengths).all() and lengths.max() <= 1 + 1e-5


def test_rows_of_which_none_is_left_do_not_drift() -> None:
    vectors = spectral_vectors(graph_of(PATH, items=3), dimension=2)
    nothing = vectors.updated(graph_of([(3, 4, 0)], items=5), ["i0", "i1", "i2"])
    assert not nothing.vectors.any() and nothing.drift(graph_of([(3, 4, 0)], items=5)) == 0


def test_names_are_no_items() -> None:
    """A new name outside the catalogue gets its items' row, not that of an item called like it."""
    links = np.array(PATH).T
    vectors = spectral_vectors(link_graph(["a", "b", "c"], [], *links), dimension=1)
    now = link_graph(["a", "b", "c"], ["a"], *np.array([*PATH, (2, 3, 0)]).T)
    updated = vectors.updated(now, [])
    assert updated.vectors[:3].tobytes() == vectors.vectors.tobytes()
    np.testing.assert_allclose(updated.vectors[3], vectors.vectors[2] / np.sqrt(2), rtol=1e-6)


def test_new_items_resemble_what_a_recomputation_makes_of_them() -> None:
    links = clustered_links(8, 60)
    known = [link for link in links if link[0] % 60 < 57 and link[1] % 60 < 57]
    old, now = graph_of(known, items=480), graph_of(links, items=480)
    new = np.arange(480) % 60 >= 57
    updated = spectral_vectors(old, 8).updated(now, [f"i{item}" for item in np.flatnonzero(new)])
    anew = spectral_vectors(now, 8)
    correlations = [
        np.corrcoef(one, other)[0, 1]
        for one, other in zip(kernel(updated)[new], kernel(anew)[new], strict=True)
    ]
    assert np.median(correlations) > 0.97


def test_drift_grows_with_what_a_recomputation_would_change() -> None:
    links = clustered_links(8, 60)
    other = clustered_links(8, 60, seed=1, inside=0.3)
    vectors = spectral_vectors(graph_of(links, items=480), dimension=8)
    drifts, distances = [], []
    for share in (0, 5, 50, 250):
        mixed = [link for link in links if link[0] >= share]
        now = graph_of(mixed + [link for link in other if link[0] < share], items=480)
        updated = vectors.updated(now, [f"i{item}" for item in range(share)])
        anew = kernel(spectral_vectors(now, dimension=8))
        drifts.append(updated.drift(now))
        distances.append(np.linalg.norm(kernel(updated) - anew) / np.linalg.norm(anew))
    assert drifts[0] < 1e-5
    assert drifts == sorted(drifts)
    assert distances == sorted(distances)


def test_drift_is_of_the_same_nodes(graph: LinkGraph, vectors: LinkVectors) -> None:
    assert vectors.drift(graph) < 1e-5
    with pytest.raises(ValueError, match="update the vectors"):
        vectors.drift(graph_of([(0, 1, 0)], items=2))


def test_written_vectors_are_read(graph: LinkGraph, vectors: LinkVectors, tmp_path: Path) -> None:
    paths = [tmp_path / "one.arrow", tmp_path / "other.arrow"]
    vectors.write(str(paths[0]))
    read = read_link_vectors(str(paths[0]))
    for name in ("vectors", "eigenvalues", "residuals", "degrees"):
        assert getattr(read, name).tobytes() == getattr(vectors, name).tobytes()
    assert read.items.equals(vectors.items) and read.outside.equals(vectors.outside)
    changed = ["i3", "i100"]
    assert (
        read.updated(graph, changed).vectors.tobytes()
        == vectors.updated(graph, changed).vectors.tobytes()
    )
    read.write(str(paths[1]))
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_other_files_are_refused(vectors: LinkVectors, tmp_path: Path) -> None:
    path = tmp_path / "vectors.arrow"
    vectors.write(str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CommandError, match=r"vectors\.arrow: not a whole file"):
        read_link_vectors(str(path))
    table = pa.table({"node": ["a"]})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(CommandError, match="not link vectors of version 1"):
        read_link_vectors(str(path))
