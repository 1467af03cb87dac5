"""Link vectors at scale: seconds by phase, peak memory, and how good the eigenpairs are.

    python -m benchmarks.link_vectors --items 1000000

The catalogue is synthetic: clusters within genres, ten links an item, seven of ten into its own
cluster, two into its genre, one anywhere, and everywhere more often to popular items (Zipf). Rows
are shuffled, as catalogue order says nothing of clusters. Prints one JSON line; the residuals are
the norms of S u - w u. An update renews one item in a hundred.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.measuring import measured, peak_megabytes, print_measure
from preprocessing.links.spectral import link_graph, read_link_vectors, spectral_vectors

_CLUSTER, _GENRE = 200, 20_000
_LEVELS = (0.7, 0.9)
"""Shares of links within the cluster, and within cluster or genre."""
_ZIPF = 0.7


def synthetic_links(items: int, links: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item, linked item and rank of each link of a clustered catalogue.

    Args:
      items: size of the catalogue.
      links: of each item.
      seed: other seeds give other links.

    Returns:
      Three arrays [items * links].
    """
    generator = np.random.default_rng(seed)
    item = np.repeat(np.arange(items), links)
    level = generator.random(len(item), np.float32)
    size = np.where(level < _LEVELS[0], _CLUSTER, np.where(level < _LEVELS[1], _GENRE, items))
    first = item // size * size
    # The place of a number drawn from Zipf's law in the order of popularity, by inversion.
    position = generator.random(len(item)) ** (1 / (1 - _ZIPF))
    linked = first + (position * (np.minimum(first + size, items) - first)).astype(np.int64)
    row_of_item = generator.permutation(items)
    return row_of_item[item], row_of_item[linked], np.tile(np.arange(links), items)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000, help="items of the catalogue")
    parser.add_argument("--links", type=int, default=10, help="links of each item")
    parser.add_argument("--dimension", type=int, default=128, help="of the vectors")
    parser.add_argument("--seed", type=int, default=0, help="of the links")
    arguments = parser.parse_args()
    links = synthetic_links(arguments.items, arguments.links, arguments.seed)
    ids = pc.cast(pa.array(np.arange(arguments.items)), pa.string())
    with measured() as building:
        graph = link_graph(ids, [], *links)
    del links
    with measured() as computing:
        vectors = spectral_vectors(graph, arguments.dimension)
    peak = peak_megabytes()
    changed = ids.take(pa.array(np.arange(0, arguments.items, 100))).to_pylist()
    with measured() as updating:
        vectors.updated(graph, changed)
    with measured() as drifting:
        drift = vectors.drift(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "vectors.arrow"))
        with measured() as saving:
            vectors.write(path)
            read_link_vectors(path)
    print_measure(
        "link_vectors",
        items=arguments.items,
        entries=int(graph.weights.nnz),
        dimension=arguments.dimension,
        graph_seconds=building.seconds,
        vectors_seconds=computing.seconds,
        cpu_seconds=building.cpu_seconds + computing.cpu_seconds,
        peak_megabytes=peak,
        largest_residual=float(vectors.residuals.max()),
        median_residual=float(np.median(vectors.residuals)),
        smallest_eigenvalue=float(vectors.eigenvalues[-1]),
        update_seconds=updating.seconds,
        drift=drift,
        drift_seconds=drifting.seconds,
        write_and_read_seconds=saving.seconds,
    )


if __name__ == "__main__":
    main()
