"""The knowledge vectors of a source of links: eigenvectors of the graph that its answers make."""

from __future__ import annotations

import numpy as np

from configs.command_line import CommandError
from configs.scenario import Scenario
from preprocessing import storage
from preprocessing.dead_letters import DeadLetterRuns
from preprocessing.knowledge.control_vectors import MadeVectors, write_shards
from preprocessing.knowledge.entity_vectors import write_vector_statistics
from preprocessing.knowledge.vectors import round_vectors
from preprocessing.links.known_links import KnownLinks
from preprocessing.links.linking import LINKS_FILE, TITLES_FILE, read_catalogue, read_links
from preprocessing.links.spectral import graph_of_table, spectral_vectors
from preprocessing.records.layout import (
    DEAD_LETTERS_FILE,
    VECTOR_STATISTICS_FILE,
    WorkDirectory,
)

_DECIMALS = 6


def make_link_vectors(scenario: Scenario, source: str, folder: str) -> MadeVectors:
    """Writes the vectors of the items that links reach, and all that a refresh extends them by.

    Args:
      scenario: the scenario; the links of the source are finished.
      source: a source with `links`.
      folder: where the files belong, a path or URL.

    Raises:
      CommandError: no item is linked to another.
    """
    settings = scenario.knowledge.answers[source].links
    assert settings is not None
    linked = WorkDirectory(scenario.work_dir).links(source).path
    table = read_links(linked / LINKS_FILE)
    graph = graph_of_table(table)
    try:
        vectors = spectral_vectors(graph, settings.dimension)
    except CommandError as error:
        raise CommandError(f"knowledge.answers.{source}: {error}") from error
    KnownLinks(settings, read_catalogue(linked / TITLES_FILE), table, vectors).write(folder)
    items = len(vectors.items)
    rounded, good = round_vectors(vectors.vectors[:items] * np.float32(vectors.scale))
    rows = np.flatnonzero(good)
    ids = vectors.items.take(rows).to_pylist()
    shards, statistics = write_shards(
        folder, scenario.knowledge.shards, ids, lambda chosen: rounded[rows[chosen]]
    )
    DeadLetterRuns(storage.join(folder, "no.runs")).write(storage.join(folder, DEAD_LETTERS_FILE))
    counts = {
        "items": items,
        "outside_nodes": len(vectors.outside),
        "linked_pairs": graph.weights.nnz // 2,
        "items_without_links": int(np.count_nonzero(graph.degrees[:items] == 0)),
        "smallest_eigenvalue": round(float(vectors.eigenvalues[-1]), _DECIMALS),
        "largest_residual": round(float(vectors.residuals.max()), _DECIMALS),
    }
    return MadeVectors(
        shards,
        write_vector_statistics(storage.join(folder, VECTOR_STATISTICS_FILE), statistics),
        items - len(ids),
        {"links": counts},
    )
