"""Link vectors at scale: seconds by phase, peak memory, and how good the eigenpairs are.

    python -m benchmarks.link_vectors --items 1000000

Every item has ten links: seven lead into its niche of some 200 items, two into its cluster of
20,000, one anywhere, and everywhere more often to popular items (examples/synthetic.py). Prints
one JSON line; the residuals are the norms of S u - w u. An update renews one item in a hundred.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.measuring import measured, peak_megabytes, print_measure
from examples.synthetic import LINKS, SyntheticLog
from preprocessing.links.spectral import link_graph, read_link_vectors, spectral_vectors

_CLUSTER = 20_000
_ITEMS_AT_ONCE = 1 << 17


def synthetic_links(items: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item, linked item and rank of each link of a clustered catalogue, [items * LINKS] each.

    Args:
      items: size of the catalogue.
      seed: other seeds give other links.
    """
    log = SyntheticLog(1, 1, items, seed, clusters=max(1, items // _CLUSTER), known=1.0)
    blocks = [
        log.links(np.arange(start, min(start + _ITEMS_AT_ONCE, items)))
        for start in range(0, items, _ITEMS_AT_ONCE)
    ]
    item, linked = (np.concatenate(columns) for columns in zip(*blocks, strict=True))
    return item, linked, np.tile(np.arange(LINKS), items)


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000, help="items of the catalogue")
    parser.add_argument("--dimension", type=int, default=128, help="of the vectors")
    parser.add_argument("--seed", type=int, default=0, help="of the links")
    arguments = parser.parse_args()
    links = synthetic_links(arguments.items, arguments.seed)
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
