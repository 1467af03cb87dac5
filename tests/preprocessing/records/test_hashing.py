from __future__ import annotations

import numpy as np

from preprocessing.records.hashing import (
    anonymous,
    mixed,
    stable_hash,
    stable_hashes,
    unit_interval,
)


def test_hashes_never_change_and_differ_by_purpose():
    # computed with hashlib.blake2b once, as a guard against change
    assert stable_hash("ann", "fold") % 10 == 8
    assert stable_hash("ann", "fold") != stable_hash("ann", "shard")
    assert stable_hashes(["ann", "bob"], "fold").tolist() == [
        stable_hash("ann", "fold"),
        stable_hash("bob", "fold"),
    ]
    assert stable_hashes([], "fold").dtype == np.uint64


def test_the_unit_interval_is_half_open():
    hashes = np.array([0, 1 << 63, (1 << 64) - 1], dtype=np.uint64)
    numbers = unit_interval(hashes)
    assert numbers.tolist()[:2] == [0.0, 0.5]
    assert 0.999 < numbers[2] < 1.0


def test_anonymous_names_hide_the_id():
    assert anonymous("user-17") == anonymous("user-17") != anonymous("user-18")
    assert "user" not in anonymous("user-17") and len(anonymous("x")) == 17


def test_numbers_are_scrambled_as_splitmix64_does():
    # First outputs of SplitMix64 seeded with 0; its state grows by the golden ratio's bits.
    step = np.uint64(0x9E3779B97F4A7C15)
    states = np.arange(3, dtype=np.uint64) * step
    assert mixed(states).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
