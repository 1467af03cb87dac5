"""What a source of links leaves for later answers, which extend its vectors without recomputing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.knowledge import Links
from preprocessing import storage
from preprocessing.links.linking import (
    LINKS_FILE,
    TITLES_FILE,
    NamesOfAnswers,
    TitleCatalogue,
    count_by_how,
    link_names,
    read_catalogue,
    read_links,
    with_outside_nodes,
    without_entities,
    write_parquet,
)
from preprocessing.links.spectral import LinkVectors, graph_of_table, read_link_vectors

_VECTORS_FILE = "link_vectors.arrow"

RECOMPUTE_ABOVE = 0.05
"""Drift, see `LinkVectors.drift`, from which vectors should be computed anew."""


@dataclass(frozen=True)
class KnownLinks:
    """Titles, links and vectors of a source.

    Attributes:
      settings: how names are found.
      catalogue: the items whose titles names may mean.
      table: of `linking.links_schema`.
      vectors: of the table's graph, as it was when they were computed or last extended.
    """

    settings: Links
    catalogue: TitleCatalogue
    table: pa.Table
    vectors: LinkVectors

    def write(self, folder: str) -> None:
        """Writes three files into a folder, a path or URL."""
        write_parquet(self.table, storage.join(folder, LINKS_FILE))
        self.catalogue.write(storage.join(folder, TITLES_FILE))
        self.vectors.write(storage.join(folder, _VECTORS_FILE))

    def without(self, items: Collection[str]) -> KnownLinks:
        """The same without some items and their links; all other rows stay as they are."""
        table = without_entities(self.table, items, items)
        gone = pc.is_in(self.catalogue.ids, value_set=pa.array(list(items), pa.string()))
        stays = pc.invert(gone)
        years = self.catalogue.years[stays.to_numpy(zero_copy_only=False)]
        return replace(
            self,
            catalogue=TitleCatalogue(
                self.catalogue.ids.filter(stays), self.catalogue.titles.filter(stays), years
            ),
            table=table,
            vectors=self.vectors.updated(graph_of_table(table), ()),
        )

    def extended(self, names: NamesOfAnswers) -> ExtendedLinks:
        """Takes answers in, in the place of those there were about the same items.

        An item whose links are others than before gets a new row, all others keep theirs to the
        bit. An item that names what no row is of has no vector.

        Args:
          names: of answers of which each is about another item.
        """
        new = link_names(names, self.catalogue, self.settings)
        asked = pa.array(names.ids, pa.string())
        replaced = pc.is_in(self.table["item"].cast(pa.string()), value_set=asked)
        kept = self.table.filter(pc.invert(replaced))
        table = pa.concat_tables([kept, new]).unify_dictionaries().combine_chunks()
        table = with_outside_nodes(table)
        before = _links_of(self.table.filter(replaced))
        after = _links_of(table.filter(pc.is_in(table["item"].cast(pa.string()), value_set=asked)))
        changed = [item for item in names.ids if before[item] != after[item]]
        graph = graph_of_table(table)
        vectors = self.vectors.updated(graph, changed)
        rows = pc.index_in(asked, value_set=vectors.items).to_numpy()  # every asked item is a node
        return ExtendedLinks(
            replace(self, table=table, vectors=vectors),
            vectors.vectors[rows] * np.float32(vectors.scale),
            count_by_how(new),
            vectors.drift(graph),
        )


def read_known_links(folder: str, settings: Links) -> KnownLinks:
    """Reads what `KnownLinks.write` wrote.

    Raises:
      CommandError: a file is missing or damaged.
    """
    return KnownLinks(
        settings,
        read_catalogue(storage.join(folder, TITLES_FILE)),
        read_links(storage.join(folder, LINKS_FILE)),
        read_link_vectors(storage.join(folder, _VECTORS_FILE)),
    )


@dataclass(frozen=True)
class ExtendedLinks:
    """What later answers made of a source.

    Attributes:
      links: the source now.
      rows: [answers, width] float32, knowledge vectors of the items that the answers are about;
        zeros where an item has none.
      counts: names of the answers by what became of them.
      drift: how far all rows are from those of a computation anew, see `LinkVectors.drift`.
    """

    links: KnownLinks
    rows: np.ndarray
    counts: dict[str, Any]
    drift: float


def _links_of(table: pa.Table) -> defaultdict[str, dict[tuple[bool, str], int]]:
    """Item -> what it is linked to, an item or a node outside, with the rank."""
    ranks: defaultdict[str, dict[tuple[bool, str], int]] = defaultdict(dict)
    plain = table.select(["item", "linked", "node", "rank"])
    for item, linked, node, rank in zip(
        *map(pa.ChunkedArray.to_pylist, plain.columns), strict=True
    ):
        if linked is not None or node is not None:
            target = (linked is None, linked if linked is not None else node)
            ranks[item].setdefault(target, rank)
    return ranks
