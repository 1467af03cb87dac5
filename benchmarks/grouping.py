"""Collective extraction's grouping at scale: processor seconds by phase and peak memory.

    python -m benchmarks.grouping --entities 1000000 --interactions 10000000

Synthetic tables are written first, by a process of their own, so that the peak is the grouping's.
Prints one JSON line for the items and one for the users by what they liked; reading and item
features are shared by both, as in `python -m preprocessing group`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from benchmarks.measuring import measured, peak_megabytes, print_measure
from configs.knowledge import Grouping
from configs.loading import scenario_from_tree
from configs.scenario import Scenario
from examples.synthetic import SyntheticLog
from preprocessing.dead_letters import DeadLetterRuns
from preprocessing.grouping.entities import KnownInteractions, entity_digests
from preprocessing.grouping.features import (
    Entities,
    Material,
    item_blocks,
    items_to_group,
    read_material,
    users_to_group,
)
from preprocessing.grouping.plan import Kind, fewest_items
from preprocessing.grouping.tree import LEFT_OUT, bisect, group_names
from preprocessing.interactions.catalogue import open_catalogue
from preprocessing.interactions.reading import open_interactions

_INTERACTIONS_PER_USER = 30
_FEATURES = ("co_occurrence", "attributes", "text")


def _write_tables(folder: str, entities: int, interactions: int, seed: int) -> None:
    users = max(1, interactions // _INTERACTIONS_PER_USER)
    log = SyntheticLog(interactions, users, entities, seed)
    log.write_interactions(Path(folder) / "interactions.csv")
    log.write_catalogue(Path(folder) / "catalogue.csv")


def _scenario(folder: str, features: list[str]) -> Scenario:
    return scenario_from_tree(
        {
            "name": "grouping",
            "work_dir": f"{folder}/work",
            "data": {
                "interactions": {"path": f"{folder}/interactions.csv"},
                "catalogue": {
                    "path": f"{folder}/catalogue.csv",
                    "attributes": {
                        "genres": {"kind": "categorical", "separator": "|"},
                        "year": {"kind": "numeric"},
                    },
                },
            },
            "knowledge": {
                "sources": ["item"],
                "answers": {
                    "item": {
                        "entity": "item",
                        "collective": ["none"],
                        "grouping": {"features": features},
                    }
                },
            },
        }
    )


def _read(scenario: Scenario, folder: str) -> Material:
    data = scenario.data
    log = open_interactions(data, scenario.split)
    rejected = DeadLetterRuns(str(Path(folder, "rejected")))
    return read_material(scenario, log, open_catalogue(data.catalogue), Path(folder), rejected)


def _group(
    kind: Kind,
    entities: Entities,
    interactions: KnownInteractions,
    grouping: Grouping,
    minimum: int,
    shared: dict[str, Any],
) -> None:
    with measured() as tree_watch:
        tree = bisect(
            entities.vectors, entities.counted, grouping.maximum_size, minimum, grouping.seed
        )
    with measured() as naming_watch:
        prints = entity_digests(kind, entities.ids, interactions)
        group_names(entities.ids, prints, tree.group_of_row, tree.groups, kind)
    print_measure(
        "grouping",
        kind=kind,
        entities=len(entities.ids),
        grouped=int((tree.group_of_row != LEFT_OUT).sum()),
        groups=tree.groups,
        depth=tree.depth,
        width=entities.vectors.shape[1],
        **shared,
        tree_seconds=tree_watch.cpu_seconds,
        naming_seconds=naming_watch.cpu_seconds,
        cpu_seconds=shared["shared_cpu_seconds"]
        + tree_watch.cpu_seconds
        + naming_watch.cpu_seconds,
        peak_megabytes=peak_megabytes(),
    )


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entities", type=int, default=100_000, help="items of the catalogue")
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--features", nargs="+", choices=_FEATURES, default=list(_FEATURES[:2]))
    parser.add_argument("--seed", type=int, default=0, help="of the synthetic tables")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tables = (folder, arguments.entities, arguments.interactions, arguments.seed)
        writer = multiprocessing.get_context("spawn").Process(target=_write_tables, args=tables)
        writer.start()
        writer.join()
        if writer.exitcode:
            parser.exit(1, "the synthetic tables could not be written\n")
        scenario = _scenario(folder, arguments.features)
        grouping = scenario.knowledge.answers["item"].grouping
        assert grouping is not None
        with threadpool_limits(limits=1):
            with measured() as reading:
                material = _read(scenario, folder)
            with measured() as features:
                blocks = list(item_blocks(material.items, material.known_interactions, grouping))
            shared = {
                "interactions": arguments.interactions,
                "interactions_used": len(material.known_interactions.liked),
                "features": arguments.features,
                "reading_seconds": reading.cpu_seconds,
                "features_seconds": features.cpu_seconds,
                "shared_cpu_seconds": reading.cpu_seconds + features.cpu_seconds,
            }
            items = items_to_group(material.items, blocks)
            fewest = fewest_items(grouping.maximum_size)
            _group("item", items, material.known_interactions, grouping, fewest, shared)
            del items
            users = users_to_group("liked", material.items, blocks, material.known_interactions)
            _group("liked", users, material.known_interactions, grouping, 5, shared)


if __name__ == "__main__":
    main()
