"""What a source of links leaves for later answers, which extend its vectors without recomputing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
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
    joined_tables,
    link_names,
    read_catalogue,
    read_links,
    rows_with,
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

    def items_with_links(self) -> frozenset[str]:
        """Items whose answers link them to something."""
        is_linked = pc.or_(pc.is_valid(self.table["linked"]), pc.is_valid(self.table["node"]))
        asked_for = pc.and_not(is_linked, rows_with(self.table["how"], ["mined"]))
        return frozenset(pc.unique(self.table.filter(asked_for)["item"]).to_pylist())

    def extended(self, names: NamesOfAnswers) -> ExtendedLinks:
        """Takes answers in, in the place of those there were about the same items.

        An item whose links are others than before, or that had no row, gets a new row; all others
        keep theirs to the bit. Mined links stay. An answer that links its item to nothing that has
        a row leaves no trace: what was known of the item stays. Rows that come by these answers
        count, too, whatever their order.

        Args:
          names: of answers of which each is about another item.
        """
        new = link_names(names, self.catalogue, self.settings)
        links, rows, waiting = self, dict[str, np.ndarray](), list(names.ids)
        had_links = self.items_with_links()
        while waiting:
            found = links._with_answers(new, waiting)
            loses_all = had_links - found.links.items_with_links()
            usable = [
                item for item, row in found.rows.items() if row.any() and item not in loses_all
            ]
            if not usable:
                break
            if len(usable) < len(waiting):
                found = links._with_answers(new, usable)
            links = found.links
            rows |= found.rows
            waiting = [item for item in waiting if item not in rows]
        of_names = np.zeros([len(names.ids), self.vectors.vectors.shape[1]], np.float32)
        for number, item in enumerate(names.ids):
            of_names[number] = rows.get(item, 0)
        return ExtendedLinks(
            links,
            of_names,
            count_by_how(new),
            links.vectors.drift(graph_of_table(links.table)),
        )

    def _with_answers(self, new: pa.Table, items: Sequence[str]) -> _Extension:
        """The same with the rows of a table of new links that are about some items."""
        is_mined = rows_with(self.table["how"], ["mined"])
        stays = pc.invert(pc.or_(rows_with(self.table["item"], items), is_mined))
        coming = new.filter(rows_with(new["item"], items))
        parts = self.table.filter(stays), coming, self.table.filter(is_mined)
        table = with_outside_nodes(joined_tables(parts))
        before, after = (
            _links_of(each.filter(rows_with(each["item"], items))) for each in (self.table, table)
        )
        asked = pa.array(items, pa.string())
        places = pc.fill_null(pc.index_in(asked, value_set=self.vectors.items), -1).to_numpy()
        has_row = (places >= 0) & self.vectors.vectors[places].any(axis=1)
        changed = [
            item
            for item, known in zip(items, has_row, strict=True)
            if not known or before[item] != after[item]
        ]
        vectors = self.vectors.updated(graph_of_table(table), changed)
        rows = pc.index_in(asked, value_set=vectors.items).to_numpy()  # every asked item is a node
        own = vectors.vectors[rows] * np.float32(vectors.scale)
        return _Extension(
            replace(self, table=table, vectors=vectors), dict(zip(items, own, strict=True))
        )


@dataclass(frozen=True)
class _Extension:
    """Links with some further answers, and the rows of the items that these are about."""

    links: KnownLinks
    rows: dict[str, np.ndarray]


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
        zeros where an item has none, and its answer left no trace.
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
