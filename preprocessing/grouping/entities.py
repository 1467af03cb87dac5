"""Items and interactions that groups may be made from: known ones only (leak rule)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.data import CatalogueTable
from preprocessing.grouping.plan import Kind
from preprocessing.interactions.first_interactions import FirstInteractions
from preprocessing.interactions.reading import numbered_together, sorted_ids
from preprocessing.prompt_templates import sanitise_text
from preprocessing.records.hashing import mixed, stable_hashes
from preprocessing.records.item_tables import ITEM_ID, TITLE

_ROWS_AT_ONCE = 1 << 20


def entity_digests(kind: Kind, entity_ids: pa.Array, interactions: KnownInteractions) -> np.ndarray:
    """[entities] uint64 of the known interactions of each.

    It is the sum of a hash for each interaction: of user, item, whether the user liked it, and its
    place among the user's interactions. So it depends on the order within a user, and on no other.

    Args:
      kind: groups of items, or of users by what they liked or disliked.
      entity_ids: items or users, those of `interactions` or some of them.
      interactions: the interactions.
    """
    if kind == "item":
        ids, entity_of_row = interactions.item_ids, interactions.item_of_row
    else:
        ids, entity_of_row = interactions.user_ids, interactions.user_of_row
    sums = _sums(interactions, entity_of_row, len(ids))
    return sums[pc.index_in(entity_ids, value_set=ids).to_numpy()]


def _sums(interactions: KnownInteractions, entity_of_row: np.ndarray, entities: int) -> np.ndarray:
    users, items = (
        _hashes(interactions.user_ids, "known user"),
        _hashes(interactions.item_ids, "known item"),
    )
    first_row = _first_rows(interactions)
    sums = np.zeros(entities, dtype=np.uint64)
    for start in range(0, len(entity_of_row), _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, len(entity_of_row)))
        user = interactions.user_of_row[rows]
        hashes = mixed(users[user] + items[interactions.item_of_row[rows]])
        hashes = mixed(hashes + (rows - first_row[user]).astype(np.uint64))
        hashes = mixed(hashes + interactions.liked[rows].astype(np.uint64))
        np.add.at(sums, entity_of_row[rows], hashes)
    return sums


def _hashes(ids: pa.Array, purpose: str) -> np.ndarray:
    return stable_hashes((identifier.as_py() for identifier in ids), purpose)


def _first_rows(interactions: KnownInteractions) -> np.ndarray:
    """[users] row of each user's first interaction; 0 for a user without any."""
    first_row = np.zeros(len(interactions.user_ids), dtype=np.int64)
    # Row 0 is the first row of its user, which has 0 already.
    starts = 1 + np.flatnonzero(interactions.user_of_row[1:] != interactions.user_of_row[:-1])
    first_row[interactions.user_of_row[starts]] = starts
    return first_row


@dataclass(frozen=True)
class KnownInteractions:
    """Interactions [0, k_u) of all users, as numbers; a user's rows stand together, oldest first.

    Attributes:
      user_ids: [users] sorted ids of all users of the log.
      item_ids: [items] sorted ids of the items in these interactions.
      user_of_row: [rows] int32 index into `user_ids`.
      item_of_row: [rows] int32 index into `item_ids`.
      liked: [rows] True where the user liked the item.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    user_of_row: np.ndarray
    item_of_row: np.ndarray
    liked: np.ndarray

    def numbered_by(self, item_ids: pa.Array) -> KnownInteractions:
        """The same interactions with items numbered by other sorted ids, those of here included."""
        number = pc.index_in(self.item_ids, value_set=item_ids).to_numpy().astype(np.int32)
        return replace(self, item_ids=item_ids, item_of_row=number[self.item_of_row])


def collect_known_interactions(shards: Iterable[FirstInteractions]) -> KnownInteractions:
    """Brings the shards together; 9 bytes an interaction, and the ids.

    Args:
      shards: the interactions of some users each, every user in one shard.
    """
    user_ids, item_ids = [], []
    users, items, liked = [], [], []
    for seen in shards:
        encoded = pa.array(seen.items, pa.string()).dictionary_encode()
        user_ids.append(pa.array(seen.users, pa.string()))
        item_ids.append(encoded.dictionary)
        users.append(seen.user_of_row.astype(np.int32))
        items.append(encoded.indices.to_numpy().astype(np.int32))
        liked.append(seen.liked)
    all_users, user_of_row = numbered_together(user_ids, users)
    all_items, item_of_row = numbered_together(item_ids, items)
    return KnownInteractions(
        user_ids=all_users,
        item_ids=all_items,
        user_of_row=user_of_row,
        item_of_row=item_of_row,
        liked=np.concatenate([np.empty(0, bool), *liked]),
    )


_FEWEST_SHOWN = 20
"""The smallest `prompts.title_characters`: what is left of a title here is left in every prompt."""

_READ_CHARACTERS = 20 * _FEWEST_SHOWN
_LETTER_OR_DIGIT = r"[\pL\pN]"
_PERHAPS_MARKUP = r"[<\[]"


@dataclass(frozen=True)
class DescribedItems:
    """Items and what the catalogue says about them.

    Attributes:
      ids: [items] sorted.
      titled: [items] True for items of which a prompt can show a title.
      outside_catalogue: number of items that only interactions name.
      filtered_out: number of items of the catalogue that `data.filter` leaves out; they are not
        here.
      titles: [items] texts, empty where there is none.
      categories: categorical attribute -> [items] lists of texts, null outside the catalogue.
      numbers: numeric attribute -> [items] float64, NaN for a missing one.
    """

    ids: pa.Array
    titled: np.ndarray
    outside_catalogue: int
    titles: pa.Array
    categories: dict[str, pa.ListArray]
    numbers: dict[str, np.ndarray]
    filtered_out: int = 0


def describe_items(
    table: pa.Table,
    catalogue: CatalogueTable,
    known_ids: pa.Array,
    kept_items: Sequence[str] | None = None,
) -> DescribedItems:
    """Brings catalogue and interactions together.

    Args:
      table: items of the catalogue, each once, in any order (`catalogue.Items.table`).
      catalogue: configuration of the catalogue.
      known_ids: ids of items in the known interactions.
      kept_items: the only items that `data.filter` leaves; all items if not given.
    """
    rows = len(table)
    if kept_items is not None:
        table = table.filter(pc.is_in(table[ITEM_ID], value_set=pa.array(kept_items, pa.string())))
    filtered_out = rows - len(table)
    table = table.combine_chunks()
    catalogue_ids = table[ITEM_ID].combine_chunks()
    ids = sorted_ids(pa.chunked_array([catalogue_ids, known_ids], pa.string()))
    row_of_item = pc.index_in(ids, value_set=catalogue_ids)
    titles = pc.fill_null(table[TITLE].combine_chunks().take(row_of_item), "")
    described = {
        name: table[name].combine_chunks().take(row_of_item) for name in catalogue.attributes
    }
    kinds = {name: attribute.kind for name, attribute in catalogue.attributes.items()}
    return DescribedItems(
        ids=ids,
        titled=_can_be_shown(titles),
        outside_catalogue=row_of_item.null_count,
        titles=titles,
        categories={
            name: values for name, values in described.items() if kinds[name] == "categorical"
        },
        numbers={
            name: values.to_numpy(zero_copy_only=False)
            for name, values in described.items()
            if kinds[name] == "numeric"
        },
        filtered_out=filtered_out,
    )


def _can_be_shown(titles: pa.Array) -> np.ndarray:
    """True where something is left of a title when it is sanitised for a prompt."""
    read = pc.utf8_slice_codeunits(titles, 0, _READ_CHARACTERS)
    plain = pc.match_substring_regex(read, _LETTER_OR_DIGIT).to_numpy(zero_copy_only=False)
    markup = pc.match_substring_regex(read, _PERHAPS_MARKUP).to_numpy(zero_copy_only=False)
    shown = plain & ~markup
    # Letters and digits survive sanitising unless they are markup, so few titles need a close look.
    for row in np.flatnonzero(~shown & pc.not_equal(read, "").to_numpy(zero_copy_only=False)):
        shown[row] = bool(sanitise_text(read[row].as_py(), _FEWEST_SHOWN, quoted=True))
    return shown
