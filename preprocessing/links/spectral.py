"""From links between items to knowledge vectors, and to the rows of new items without recomputing.

An item that an LLM names together with another is linked to it. With weight 1 / (1 + 0.05 rank) of
a link (rank 0 is the name that came first), links of both directions added into A, and D the sums
of its rows,

    S = D^-1/2 A D^-1/2,    S u_k = w_k u_k,    v_ik = u_ik (1 - d w_k)^-s/2

for the largest eigenvalues w_k. Inner products of the rows v_i are the kernel (I - d S)^-s, cut off
at the leading eigenpairs; the cut is what makes it say who loves what. With damping d = 0.9 and
smoothness s = 1 that is the kernel of walks along links. With others it is a Matern kernel on the
graph (Borovitskiy et al., "Matern Gaussian Processes on Graphs", 2021) of S = I - L, where L is the
normalised Laplacian.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse
from scipy.sparse.csgraph import connected_components

from configs.command_line import CommandError
from preprocessing import storage
from preprocessing.links.eigenpairs import leading_eigenpairs

_RANK_DECAY = 0.05
_TOLERANCE = 3e-4
_MAXIMUM_PRODUCTS = 150
_SMALLEST_DIVISOR = 0.1
_COLUMNS = 32
_MOST_ENTRIES = 1 << 31
"""Indices of more do not fit into 32 bits, which SciPy's graphs need."""

_VERSION = b"reki_link_vectors"
_CURRENT = b"1"
_EIGENPAIRS = b"eigenpairs"
_ROWS_OF_A_BATCH = 1 << 16


@dataclass(frozen=True)
class LinkGraph:
    """Items, and names outside the catalogue that items share, with what links them.

    Attributes:
      items: item ids, the first nodes.
      outside: names outside the catalogue, the nodes after the items.
      weights: [nodes, nodes] float32, A: symmetric, without a diagonal, columns sorted.
      degrees: [nodes] float64, D: 0 for a node without a link.
    """

    items: pa.Array
    outside: pa.Array
    weights: scipy.sparse.csr_matrix
    degrees: np.ndarray


def link_graph(
    items: Sequence[str] | pa.Array,
    outside: Sequence[str] | pa.Array,
    item_of_link: np.ndarray,
    linked: np.ndarray,
    ranks: np.ndarray,
) -> LinkGraph:
    """The graph of links; their order decides no bit.

    Of several links from one item to the same node the best rank counts; a link to itself counts
    as none.

    Args:
      items: item ids, each once.
      outside: names outside the catalogue, each once.
      item_of_link: [links] rows of the items whose answers name something.
      linked: [links] rows of what is named: an item's row, or `len(items)` and more for a name
        outside the catalogue.
      ranks: [links] places of the names in their answers, from 0.

    Raises:
      ValueError: a row or a rank is out of range.
    """
    nodes = len(items) + len(outside)
    links = [np.asarray(array, np.int64) for array in (item_of_link, linked, ranks)]
    steps = int(links[2].max(initial=0)) + 1
    for name, array, bound in zip(
        ("item_of_link", "linked", "ranks"), links, (len(items), nodes, steps), strict=True
    ):
        if array.size and not 0 <= array.min() <= array.max() < bound:
            raise ValueError(f"{name} must lie in [0, {bound})")
    if nodes**2 * steps >= 2**63:
        raise ValueError(f"{nodes} nodes with ranks up to {steps - 1} are too many to be numbered")
    keys = links[0] * nodes
    keys += links[1]
    keys *= steps
    keys += links[2]
    keys = keys[links[0] != links[1]]
    del links
    keys.sort()
    pairs, rank = np.divmod(keys, steps)
    best = np.diff(pairs, prepend=-1) > 0
    source, target = np.divmod(pairs[best], nodes)
    weight = (1 / (1 + _RANK_DECAY * rank[best])).astype(np.float32)
    del keys, pairs, rank, best
    starts = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=nodes))])
    named = scipy.sparse.csr_matrix((weight, target, starts), shape=(nodes, nodes))
    del source, target, weight
    weights = (named + named.T.tocsr()).tocsr()
    weights.sort_indices()
    degrees = np.asarray(weights.sum(axis=1, dtype=np.float64)).ravel()
    return LinkGraph(_texts(items), _texts(outside), weights, degrees)


def graph_of_table(table: pa.Table) -> LinkGraph:
    """The graph of a table of links, see `linking.links_schema`; nodes in the order of their texts.

    Items whose answers link to nothing are nodes, too.
    """
    columns = {name: table[name].combine_chunks() for name in ("item", "linked", "node")}
    texts = {name: column.dictionary for name, column in columns.items()}
    used = {name: np.unique(column.indices.drop_null()) for name, column in columns.items()}
    named = pa.concat_arrays(
        [texts[name].take(pa.array(used[name])) for name in ("item", "linked")]
    )
    items = _sorted(pc.unique(named))
    outside = _sorted(texts["node"].take(pa.array(used["node"])))
    rows = {
        name: _rows_of_texts(columns[name], outside if name == "node" else items)
        for name in columns
    }
    linked = np.where(rows["linked"] >= 0, rows["linked"], _shifted(rows["node"], len(items)))
    is_link = linked >= 0
    return link_graph(
        items, outside, rows["item"][is_link], linked[is_link], table["rank"].to_numpy()[is_link]
    )


def _sorted(texts: pa.Array) -> pa.Array:
    return texts.take(pc.sort_indices(texts))


def _rows_of_texts(column: pa.DictionaryArray, among: pa.Array) -> np.ndarray:
    """Positions of a column's values among others, -1 where it has none."""
    row_of_code = np.append(_places(column.dictionary, among), -1)
    return row_of_code[pc.fill_null(column.indices, len(column.dictionary)).to_numpy()]


@dataclass(frozen=True)
class LinkVectors:
    """Knowledge vectors of a graph's nodes.

    Attributes:
      items: item ids, the first rows.
      outside: names outside the catalogue, the rows after the items.
      vectors: [nodes, width] float32; zeros where there is no vector.
      eigenvalues: [width] float64, largest first.
      residuals: [width] float64, the norms of S u - w u when they were computed.
      degrees: [nodes] float64, of the graph whose rows these are.
      scale: a power of two that gives the rows a root mean square length near 1, chosen when they
        were computed; in a large graph they are too short for float16 without it.
      damping: d.
      smoothness: s.
    """

    items: pa.Array
    outside: pa.Array
    vectors: np.ndarray
    eigenvalues: np.ndarray
    residuals: np.ndarray
    degrees: np.ndarray
    scale: float
    damping: float = 0.9
    smoothness: float = 1.0

    @property
    def lengths(self) -> np.ndarray:
        """u_ik / v_ik of each dimension, float32 [width]."""
        damped = 1 - self.damping * self.eigenvalues
        return (damped ** (self.smoothness / 2)).astype(np.float32)

    def updated(self, graph: LinkGraph, changed: Collection[str]) -> LinkVectors:
        """Rows for a graph that has changed since, without recomputing: an out-of-sample extension.

        New nodes and the changed items get v_ik = (sum over j of S_ij v_jk) / w_k: one application
        of the new graph's S to the rows there were. All other rows stay as they are, to the bit,
        also those whose neighbours changed; `drift` says what that misses. Nodes that are not in
        the graph any more are dropped.

        A new node whose neighbours have no row gets none. Neither does anything but zeros come
        into a dimension whose eigenvalue is below 0.1 in size, by which a division would multiply
        whatever the neighbours' rows lack. As no row of orthonormal eigenvectors is longer than 1,
        a row u_i that is longer is shortened to that, so that one extension after another ends in
        no number that is not finite.

        Args:
          graph: the graph now; its nodes may stand in another order.
          changed: ids of items whose links are others than before.
        """
        old_rows = np.concatenate(
            [
                _places(graph.items, self.items),
                _shifted(_places(graph.outside, self.outside), len(self.items)),
            ]
        )
        vectors = np.zeros((len(old_rows), self.vectors.shape[1]), np.float32)
        vectors[old_rows >= 0] = self.vectors[old_rows[old_rows >= 0]]
        renewed = old_rows < 0
        renewed[: len(graph.items)] |= _places(graph.items, _texts(list(changed))) >= 0
        rows = np.flatnonzero(renewed)
        divisors = np.where(
            np.abs(self.eigenvalues) < _SMALLEST_DIVISOR, np.inf, self.eigenvalues
        ).astype(np.float32)
        extended = (_normalised(graph, rows) @ vectors) / divisors
        longest = np.linalg.norm(extended * self.lengths, axis=1, keepdims=True)
        vectors[rows] = extended / np.maximum(longest, 1)
        return replace(
            self,
            items=graph.items,
            outside=graph.outside,
            vectors=vectors,
            degrees=graph.degrees,
        )

    def drift(self, graph: LinkGraph) -> float:
        """How far the rows are from being eigenvectors of a graph: when to recompute.

        The norm of S U - U W beside that of U W, over all nodes and dimensions, where row i of U
        is u_i. It is about the solver's tolerance after a computation. An update adds what the
        neighbours of new and changed items miss by staying as they are. Nodes without a row whose
        neighbours have none either add nothing.

        Recompute above 0.05 (`known_links.RECOMPUTE_ABOVE`).

        Raises:
          ValueError: the graph has other nodes than these vectors.
        """
        if not (self.items.equals(graph.items) and self.outside.equals(graph.outside)):
            raise ValueError("the graph has other nodes; update the vectors for it first")
        matrix = _normalised(graph)
        missing = whole = 0.0
        for start in range(0, len(self.eigenvalues), _COLUMNS):
            columns = slice(start, start + _COLUMNS)
            panel = self.vectors[:, columns] * self.lengths[columns]
            images = panel * self.eigenvalues[columns].astype(np.float32)
            missing += float(np.square(matrix @ panel - images, dtype=np.float64).sum())
            whole += float(np.square(images, dtype=np.float64).sum())
        return float(np.sqrt(missing / whole)) if whole else 0.0

    def write(self, path: str) -> None:
        """Writes an Arrow file: equal vectors make equal bytes."""
        pairs = {
            "values": self.eigenvalues.tolist(),
            "residuals": self.residuals.tolist(),
            "scale": self.scale,
            "damping": self.damping,
            "smoothness": self.smoothness,
        }
        schema = pa.schema(
            [
                pa.field("node", pa.string(), nullable=False),
                pa.field("outside", pa.bool_(), nullable=False),
                pa.field("degree", pa.float64(), nullable=False),
                pa.field("vector", pa.list_(pa.float32(), self.vectors.shape[1]), nullable=False),
            ],
            {_VERSION: _CURRENT, _EIGENPAIRS: json.dumps(pairs).encode()},
        )
        nodes = pa.concat_arrays([self.items, self.outside])
        with storage.create_bytes(path) as file, pa.ipc.new_file(file, schema) as writer:
            for start in range(0, len(nodes), _ROWS_OF_A_BATCH):
                block = slice(start, start + _ROWS_OF_A_BATCH)
                rows = np.ascontiguousarray(self.vectors[block])
                columns = [
                    nodes[block],
                    pa.array(np.arange(start, start + len(rows)) >= len(self.items)),
                    pa.array(self.degrees[block]),
                    pa.FixedSizeListArray.from_arrays(
                        pa.array(rows.ravel()), type=schema.field("vector").type
                    ),
                ]
                writer.write_batch(pa.record_batch(columns, schema=schema))


def read_link_vectors(path: str) -> LinkVectors:
    """Reads what `LinkVectors.write` wrote.

    Raises:
      CommandError: it is another file, of another version, or damaged.
    """
    try:
        with storage.open_bytes(path) as file, pa.ipc.open_file(file) as reader:
            metadata = reader.schema.metadata or {}
            if metadata.get(_VERSION) != _CURRENT:
                raise CommandError(
                    f"{path}: not link vectors of version {_CURRENT.decode()}; compute them anew"
                )
            table = reader.read_all()
            pairs = json.loads(metadata[_EIGENPAIRS])
    except (pa.ArrowException, EOFError, ValueError) as error:
        raise CommandError(f"{path}: not a whole file of link vectors ({error})") from error
    nodes = table["node"].combine_chunks()
    items = len(nodes) - pc.sum(table["outside"], min_count=0).as_py()
    width = len(pairs["values"])
    vectors = np.empty((len(nodes), width), np.float32)
    start = 0
    for chunk in table["vector"].chunks:
        vectors[start : start + len(chunk)] = chunk.flatten().to_numpy().reshape(-1, width)
        start += len(chunk)
    return LinkVectors(
        nodes[:items],
        nodes[items:],
        vectors,
        np.array(pairs["values"], np.float64),
        np.array(pairs["residuals"], np.float64),
        table["degree"].to_numpy(),
        pairs["scale"],
        # Files from before these were options do not say them.
        **{name: pairs[name] for name in ("damping", "smoothness") if name in pairs},
    )


def spectral_vectors(
    graph: LinkGraph,
    dimension: int = 128,
    tolerance: float = _TOLERANCE,
    maximum_products: int = _MAXIMUM_PRODUCTS,
    *,
    damping: float = 0.9,
    smoothness: float = 1.0,
) -> LinkVectors:
    """Computes the vectors of a graph.

    Nodes without a link have no vector. A connected piece of the graph has eigenvalue 1 however
    small it is, so a graph in many pieces would spend all its dimensions on saying which piece a
    node belongs to. The largest pieces, half as many as there are dimensions, and any that have
    the share of the nodes that a dimension has, are kept; the nodes of others have no vector.
    Equal eigenvalues 1 are given to the pieces, the largest first; of other equal eigenvalues some
    orthonormal basis is returned, always the same for the same graph.

    Args:
      graph: links, with fewer than 2^31 entries of A.
      dimension: the number of eigenpairs; the vectors are narrower when fewer nodes are linked.
      tolerance: of the norm of S u - w u.
      maximum_products: products of S with all vectors after which they are taken as they are;
        `residuals` tells what they lack.
      damping: d, above 0 and below 1.
      smoothness: s, 1 or more.

    Raises:
      CommandError: no node is linked to another, or there are too many links.
    """
    if graph.weights.nnz >= _MOST_ENTRIES:
        raise CommandError(
            f"the links make {graph.weights.nnz:,} entries of their matrix, and vectors are "
            f"computed of fewer than {_MOST_ENTRIES:,}; link fewer names (links.names), or a part "
            "of the catalogue"
        )
    pieces = _pieces(graph, dimension)
    rows = np.flatnonzero(pieces >= 0)
    if not len(rows):
        raise CommandError("no item is linked to another, so there is nothing to make vectors from")
    matrix = _normalised(graph)
    if len(rows) < len(pieces):
        matrix = matrix[rows][:, rows]
    constants = np.zeros((len(rows), int(pieces.max()) + 1), np.float32)
    piece_degrees = np.bincount(pieces[rows], graph.degrees[rows])[pieces[rows]]
    constants[np.arange(len(rows)), pieces[rows]] = np.sqrt(graph.degrees[rows] / piece_degrees)
    pairs = leading_eigenpairs(matrix, dimension, constants, tolerance, maximum_products)
    vectors = np.zeros((len(pieces), len(pairs.values)), np.float32)
    vectors[rows] = pairs.vectors
    found = LinkVectors(
        graph.items,
        graph.outside,
        vectors,
        pairs.values,
        pairs.residuals,
        graph.degrees,
        1.0,
        damping,
        smoothness,
    )
    vectors /= found.lengths
    # Squared row by row: their squares, twice as wide, are never there together.
    squares = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    mean_square = float(squares.sum()) / len(rows)
    return replace(found, scale=float(2.0 ** np.round(-np.log2(mean_square) / 2)))


def _pieces(graph: LinkGraph, dimension: int) -> np.ndarray:
    """The piece of each node, numbered from the largest on; -1 without links or left out."""
    count, label = connected_components(graph.weights, directed=False)
    sizes = np.bincount(label, minlength=count)
    linked = sizes > 1
    # Labels are given in the order of the pieces' first nodes.
    order = np.argsort(-sizes, kind="stable")[: int(linked.sum())]
    worth = sizes[order] * dimension >= sizes[linked].sum()
    order = order[: min(max(int(worth.sum()), dimension // 2, 1), dimension)]
    number = np.full(count, -1)
    number[order] = np.arange(len(order))
    return number[label]


def _normalised(graph: LinkGraph, rows: np.ndarray | None = None) -> scipy.sparse.csr_matrix:
    """S, or some rows of it."""
    weights = graph.weights if rows is None else graph.weights[rows]
    degrees = graph.degrees if rows is None else graph.degrees[rows]
    scale = _inverse_root(graph.degrees)
    data = weights.data * np.repeat(_inverse_root(degrees), np.diff(weights.indptr))
    data *= scale[weights.indices]
    return scipy.sparse.csr_matrix((data, weights.indices, weights.indptr), shape=weights.shape)


def _inverse_root(degrees: np.ndarray) -> np.ndarray:
    return (1 / np.sqrt(np.where(degrees > 0, degrees, np.inf))).astype(np.float32)


def _texts(values: Sequence[str] | pa.Array) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values, pa.string())


def _places(wanted: pa.Array, among: pa.Array) -> np.ndarray:
    """Positions of texts among others, -1 for those that are not there."""
    return pc.fill_null(pc.index_in(wanted, value_set=among), -1).to_numpy()


def _shifted(places: np.ndarray, by: int) -> np.ndarray:
    return np.where(places >= 0, places + by, -1)
