"""Synthetic interactions shaped like real logs: some very active users, some popular items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Thriller", "War", "Western")
_SECONDS_PER_YEAR = 365 * 24 * 3600


def write_interactions(path: Path, interactions: int, users: int, items: int, seed: int) -> None:
    """Writes a CSV file with user_id, item_id, rating and timestamp, in random order.

    Args:
      path: the file.
      interactions: rows; a few of them may repeat user, item and time.
      users: number of users; activity is log-normal.
      items: number of items; popularity falls with the square root of the rank.
      seed: of the generator.
    """
    random = np.random.default_rng(seed)
    activity = random.lognormal(sigma=1.0, size=users)
    popularity = 1 / np.sqrt(np.arange(1, items + 1))
    user = random.choice(users, interactions, p=activity / activity.sum())
    item = random.choice(items, interactions, p=popularity / popularity.sum())
    taste = np.sin(user * 0.7 + item % len(GENRES))
    rating = np.clip(np.round(2 * (3.5 + taste + random.normal(size=interactions))) / 2, 0.5, 5)
    timestamp = 1_000_000_000 + random.integers(0, 5 * _SECONDS_PER_YEAR, interactions)
    table = pa.table(
        {"user_id": user + 1, "item_id": item + 1, "rating": rating, "timestamp": timestamp}
    )
    csv.write_csv(table, path)


def write_catalogue(path: Path, items: int) -> None:
    """Writes a CSV file with item_id, title, genres and year of every item."""
    numbers = np.arange(1, items + 1)
    first = np.array(GENRES)[numbers % len(GENRES)]
    second = np.array(GENRES)[numbers // len(GENRES) % len(GENRES)]
    table = pa.table(
        {
            "item_id": numbers,
            "title": [f"Film number {number}" for number in numbers],
            "genres": ["|".join(dict.fromkeys(pair)) for pair in zip(first, second, strict=True)],
            "year": 1950 + numbers % 70,
        }
    )
    csv.write_csv(table, path)
