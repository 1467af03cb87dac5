from __future__ import annotations

import pytest

from configs.command_line import CommandError
from preprocessing.examples_checks import require_samples, thin_parts


def counts(parts: tuple[int, int, int], positives: tuple[int, int, int], *kinds: str) -> dict:
    names = ("train", "validation", "test")
    return {
        "parts": dict(zip(names, parts, strict=True)),
        "positives": dict(zip(names, positives, strict=True)),
        "examples": dict.fromkeys(kinds, {}),
    }


def test_parts_with_both_classes_pass():
    assert thin_parts(counts((9, 2, 2), (4, 1, 1), "ctr")) == []


def test_parts_that_lack_samples_or_a_class_are_named():
    empty, negative, positive = thin_parts(counts((0, 3, 2000), (0, 0, 2000), "ctr", "rerank"))
    assert empty.startswith("part 'train' has no samples")
    assert negative.startswith("all 3 samples of part 'validation' have label 0")
    assert positive.startswith("all 2,000 samples of part 'test' have label 1")


def test_lists_and_retrieval_need_no_negative_samples():
    (warning,) = thin_parts(counts((9, 2, 3), (9, 2, 0), "rerank", "retrieval"))
    assert warning.startswith("all 3 samples of part 'test' have label 0")


def test_where_the_interactions_went_is_said():
    where = {"records_in": 9, "filtered_out": 3, "dead_letters": 2, "history_only": 4}
    reasons = {"unparsable_rating": 2}
    require_samples({**where, "samples": 1, "rejected_by_reason": reasons})
    message = r"of 9 interactions 3 were .*, 2 rejected \(unparsable_rating 2\), and 4 are history"
    with pytest.raises(CommandError, match=message):
        require_samples({**where, "samples": 0, "rejected_by_reason": reasons})
