from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from preprocessing.grouping.tree import group_names


def test_names_hold_the_place_and_a_digest_of_the_members():
    numbers = np.array([10, 11, 12, 255], dtype=np.uint64)
    names = group_names(
        pa.array(["a", "b", "c", "d"]), numbers, np.array([1, 0, -1, 1]), 2, "liked"
    )
    content = b"liked\n000000000000000a a\n00000000000000ff d"
    digest = hashlib.blake2b(content, digest_size=8, key=b"group").digest()[::-1].hex()[:6]
    assert names[1] == f"g0002-{digest}" and names[0].startswith("g0001-")


def test_other_members_interactions_or_kinds_make_another_name():
    entities, numbers = pa.array(["a", "b", "c"]), np.arange(3, dtype=np.uint64)
    before = group_names(entities, numbers, np.array([0, 0, 1]), 2, "liked")
    after = group_names(entities, numbers, np.array([0, 1, 1]), 2, "liked")
    assert not set(before) & set(after)
    assert group_names(entities, numbers, np.array([0, 0, -1]), 1, "liked") == before[:1]
    assert not set(group_names(entities, numbers, np.array([0, 0, 1]), 2, "disliked")) & set(before)
    others = np.array([0, 7, 2], dtype=np.uint64)
    changed = group_names(entities, others, np.array([0, 0, 1]), 2, "liked")
    assert changed[0] != before[0] and changed[1] == before[1]


def test_numbers_have_as_many_digits_as_they_need():
    entities, numbers = pa.array([f"{n}" for n in range(10_000)]), np.zeros(10_000, np.uint64)
    names = group_names(entities, numbers, np.arange(10_000), 10_000, "item")
    assert names[0].startswith("g00001-") and names[-1].startswith("g10000-")
    assert sorted(names) == names
