"""Hashes that are the same in every process, run and machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np


def stable_hash(text: str, purpose: str) -> int:
    """64-bit hash of a text; hashes for different purposes are independent of each other.

    Args:
      text: what to hash, e.g. a user id.
      purpose: a short name, e.g. "fold".
    """
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=purpose.encode()).digest()
    return int.from_bytes(digest, "little")


def stable_hashes(texts: Iterable[str], purpose: str) -> np.ndarray:
    """`stable_hash` of each text, as uint64."""
    return np.fromiter((stable_hash(text, purpose) for text in texts), dtype=np.uint64)


def mixed(numbers: np.ndarray) -> np.ndarray:
    """Scrambles 64-bit numbers, so that numbers close to each other become unlike each other.

    The step of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014, figure 17).

    Args:
      numbers: uint64.
    """
    scrambled = numbers + np.uint64(0x9E3779B97F4A7C15)
    scrambled = (scrambled ^ (scrambled >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    scrambled = (scrambled ^ (scrambled >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return scrambled ^ (scrambled >> np.uint64(31))


def unit_interval(hashes: np.ndarray) -> np.ndarray:
    """Hashes as float64 in [0, 1), from their upper 53 bits."""
    return (hashes >> np.uint64(11)).astype(np.float64) / float(1 << 53)


def anonymous(identifier: str) -> str:
    """A name for messages that does not show the id itself."""
    return f"#{stable_hash(identifier, 'message'):016x}"
