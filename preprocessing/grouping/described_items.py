"""Items that can be grouped: of the catalogue and the known interactions, as filtered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.raw_data import Catalogue
from preprocessing.grouping.known_interactions import sorted_ids
from preprocessing.prompting.sanitising import sanitise_text
from preprocessing.records.item_attributes import ITEM_ID, TITLE

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
    catalogue: Catalogue,
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
