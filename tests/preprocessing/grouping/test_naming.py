from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa

from preprocessing.grouping.naming import group_names


def test_names_hold_the_place_and_a_digest_of_the_members():
    names = group_names(pa.array(["a", "b", "c", "d"]), np.array([1, 0, -1, 1]), 2, "cap")
    digest = hashlib.blake2b(b"cap\na\nd", digest_size=8, key=b"group").digest()[::-1].hex()[:6]
    assert names[1] == f"g0002-{digest}" and names[0].startswith("g0001-")


def test_other_members_and_another_boundary_make_another_name():
    entities = pa.array(["a", "b", "c"])
    before = group_names(entities, np.array([0, 0, 1]), 2, "30")
    after = group_names(entities, np.array([0, 1, 1]), 2, "30")
    assert not set(before) & set(after)
    assert group_names(entities, np.array([0, 0, -1]), 1, "30") == before[:1]
    assert not set(group_names(entities, np.array([0, 0, 1]), 2, "10")) & set(before)


def test_numbers_have_as_many_digits_as_they_need():
    names = group_names(pa.array([f"{n}" for n in range(10_000)]), np.arange(10_000), 10_000, "")
    assert names[0].startswith("g00001-") and names[-1].startswith("g10000-")
    assert sorted(names) == names
