from __future__ import annotations

import numpy as np

from serving.refresh.knowledge import COLLECTIVE, INDIVIDUAL, NO_ANSWER, KnownEntities, coverage


def of_origins(*origins: int) -> KnownEntities:
    nothing = np.zeros(0)
    return KnownEntities(nothing, np.array([NO_ANSWER, *origins]), nothing, nothing, nothing)


def test_the_best_answer_of_any_source_counts() -> None:
    first = of_origins(INDIVIDUAL, COLLECTIVE, NO_ANSWER, COLLECTIVE)
    second = of_origins(NO_ANSWER, INDIVIDUAL, NO_ANSWER, COLLECTIVE)
    assert coverage([first, second], 4) == {"individual": 2, "group": 1, "missing": 1}
    assert coverage([], 4) == {"individual": 0, "group": 0, "missing": 4}
