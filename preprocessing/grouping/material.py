"""What the sources of a scenario are grouped from: read once, for all of them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from configs.scenario import Scenario
from preprocessing.dead_letter_runs import DeadLetterRuns
from preprocessing.grouping.described_items import DescribedItems, describe_items
from preprocessing.grouping.known_interactions import (
    KnownInteractions,
    collect_known_interactions,
)
from preprocessing.interactions.catalogue import collect_items, parse_catalogue
from preprocessing.prompting.first_interactions import InteractionShards
from preprocessing.tables.table_reader import TableReader


@dataclass(frozen=True)
class Material:
    """Known interactions and items.

    Attributes:
      known: interactions [0, k_u) of all users; items are numbered as in `items`.
      items: all items that `data.filter` leaves.
      records: records read of each input table.
      dead_letters: rejected records of both.
    """

    known: KnownInteractions
    items: DescribedItems
    records: dict[str, int]
    dead_letters: DeadLetterRuns


def read_material(
    scenario: Scenario,
    log: TableReader,
    catalogue: TableReader,
    folder: Path,
    dead_letters: DeadLetterRuns,
) -> Material:
    """Reads log and catalogue.

    Args:
      scenario: the scenario.
      log: reads the interactions.
      catalogue: reads the catalogue.
      folder: an existing folder; what is stored there on the way is removed again.
      dead_letters: takes rejected records.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch:
        shards = InteractionShards(scenario.data, log, Path(scratch), dead_letters)
        cap = scenario.split.knowledge_history_cap
        known = collect_known_interactions(shards.first_interactions(cap))
    tables, records = [], 0
    for block in catalogue.read():
        table, rejected = parse_catalogue(block, scenario.data.catalogue)
        tables.append(table)
        dead_letters.add(rejected)
        records += block.records
    collected = collect_items(tables, scenario.data.catalogue, catalogue.names)
    dead_letters.add(collected.dead_letters)
    items = describe_items(
        collected.table, scenario.data.catalogue, known.item_ids, shards.kept_items
    )
    return Material(
        known=known.numbered_by(items.ids),
        items=items,
        records={"interactions": shards.records, "catalogue": records},
        dead_letters=dead_letters,
    )
