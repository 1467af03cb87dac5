from __future__ import annotations

import numpy as np
import pytest

from preprocessing.answers.record import RejectedAnswer
from preprocessing.knowledge.vector_import import usable_vector
from preprocessing.vector_files import Problem

GOOD = np.array([1.0, 0.1])


def test_a_vector_is_rounded_to_float16():
    actual = np.frombuffer(usable_vector("a", GOOD, "", 2), np.float16)
    assert actual.tolist() == [1.0, float(np.float16(0.1))]
    assert usable_vector("a", np.array([3, 4]), "collective", 2)


@pytest.mark.parametrize(
    ("entity_id", "vector", "extraction", "reason"),
    [
        ("", GOOD, "", "blank_field"),
        (" ", GOOD, "", "blank_field"),
        ("a\nb", GOOD, "", "invalid_entity_id"),
        ("a" * 300, GOOD, "", "invalid_entity_id"),
        ("a", GOOD, "guessed", "extraction_mismatch"),
        ("a", np.ones(3), "", "wrong_width"),
        ("a", np.array([np.nan, 1]), "", "non_finite_vector"),
        ("a", np.array([1e6, 1]), "", "non_finite_vector"),
        ("a", np.array([1e-9, -0.0]), "", "zero_vector"),
        ("a", Problem("missing_field", "no vector"), "", "missing_field"),
    ],
)
def test_what_makes_no_knowledge_has_a_reason(entity_id, vector, extraction, reason):
    with pytest.raises(RejectedAnswer) as raised:
        usable_vector(entity_id, vector, extraction, 2)
    assert raised.value.reason == reason
