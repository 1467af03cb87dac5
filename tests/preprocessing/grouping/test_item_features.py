from __future__ import annotations

import numpy as np
import pyarrow as pa

from configs.knowledge import Grouping
from preprocessing.grouping.entities import DescribedItems, KnownInteractions
from preprocessing.grouping.features import attribute_weights, item_blocks

ITEMS = DescribedItems(
    ids=pa.array(["a", "b", "c", "d"]),
    titled=np.array([True, True, True, False]),
    outside_catalogue=1,
    titles=pa.array(["Star war", "Star peace", "Desert war", ""]),
    categories={"genres": pa.array([["War"], ["War", "Drama"], ["Drama"], None])},
    numbers={"year": np.array([1990.0, 2000.0, np.nan, np.nan])},
)
KNOWN = KnownInteractions(
    user_ids=pa.array(["u", "v", "w"]),
    item_ids=ITEMS.ids,
    user_of_row=np.array([0, 0, 1, 1], dtype=np.int32),
    item_of_row=np.array([0, 3, 1, 2], dtype=np.int32),
    liked=np.array([True, False, True, True]),
)


def cosines(block: np.ndarray) -> list[list[float]]:
    return np.round((block @ block.T).astype(float), 3).tolist()


def test_kinds_come_in_the_order_of_the_configuration():
    grouping = Grouping(features=("text", "co_occurrence"), dimension=8)
    text, together = item_blocks(ITEMS, KNOWN, grouping)
    # "star" and "war" are in two titles each, "peace" and "desert" make nothing alike
    half = round(0.5**0.5, 3)
    assert cosines(text) == [[1, half, half, 0], [half, 1, 0, 0], [half, 0, 1, 0], [0] * 4]
    assert cosines(together) == [[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]]


def test_attributes_weigh_about_the_same():
    weights = attribute_weights(ITEMS).toarray()
    np.testing.assert_allclose(np.linalg.norm(weights[:, :-1], axis=1), [1, 1, 1, 0], rtol=1e-6)
    assert weights[:, -1].tolist() == [-1, 1, 0, 0]


def test_no_attributes_are_no_feature():
    bare = DescribedItems(ITEMS.ids, ITEMS.titled, 0, ITEMS.titles, {}, {})
    (block,) = item_blocks(bare, KNOWN, Grouping(features=("attributes",)))
    assert block.shape == (4, 0)


def test_rows_have_length_one_or_none():
    random = np.random.default_rng(0)
    known = KnownInteractions(
        user_ids=pa.array([f"{n}" for n in range(50)]),
        item_ids=pa.array([f"{n}" for n in range(80)]),
        user_of_row=random.integers(0, 50, 600).astype(np.int32),
        item_of_row=random.integers(0, 60, 600).astype(np.int32),
        liked=np.ones(600, dtype=bool),
    )
    items = DescribedItems(known.item_ids, np.ones(80, dtype=bool), 0, pa.array([""] * 80), {}, {})
    (block,) = item_blocks(items, known, Grouping(features=("co_occurrence",), dimension=10))
    assert block.shape == (80, 10) and block.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(block, axis=1), [1] * 60 + [0] * 20, atol=1e-5)
