"""How many rows of each table were rejected, counted by the transform that rejects them.

A dead letter names its file, not its table: one file may be read as several tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from preprocessing.dead_letters import DeadLetter

REJECTED_INTERACTIONS = "rejected_interactions"
REJECTED_CATALOGUE = "rejected_catalogue"
REJECTED_PROFILES = "rejected_profiles"
"""Keys of statistics: rejected rows of a table by reason."""


def by_reason(dead_letters: Iterable[DeadLetter]) -> dict[str, int]:
    """Number of dead letters by reason."""
    return dict(Counter(letter["reason"] for letter in dead_letters))
