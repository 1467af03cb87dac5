"""How many items and users knowledge covers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from serving.refresh.entities import COLLECTIVE, INDIVIDUAL, KnownEntities

Coverage = dict[str, int]


def coverage(sources: Iterable[KnownEntities], num_entities: int) -> Coverage:
    """Counts entities by the best answer that any of the sources has of them.

    Args:
      sources: of one kind of entity.
      num_entities: items or users.

    Returns:
      "individual", "group" and "missing", which add up to the number of entities.
    """
    individual = np.zeros(num_entities, bool)
    collective = np.zeros(num_entities, bool)
    for source in sources:
        individual |= source.origins[1:] == INDIVIDUAL
        collective |= source.origins[1:] == COLLECTIVE
    return {
        "individual": int(individual.sum()),
        "group": int((collective & ~individual).sum()),
        "missing": int((~collective & ~individual).sum()),
    }
