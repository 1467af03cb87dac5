from __future__ import annotations

import pytest

from configs.command_line import CommandError
from preprocessing.examples_manifest import (
    progress_line,
    refuse_leaks,
    require_reconciled,
    require_written,
)
from preprocessing.interactions import leak_check


def counts(**changes: object) -> dict:
    return {
        "records_in": 10,
        "records_out": 6,
        "filtered_out": 3,
        "dead_letters": 1,
        "samples": 4,
        "sampled_negatives": 0,
        "missing_negatives": 0,
        "history_only": 2,
        "items": 5,
        "parts": {"train": 3, "validation": 1, "test": 0},
        "examples": {"ctr": {"train": 3, "validation": 1, "test": 0}},
        "catalogue": {"records_in": 2, "records_out": 1, "dead_letters": 1},
        "leak_violations": 0,
        "leak_check": {"unverified_sources": []},
        **changes,
    }


def test_counts_that_add_up_pass():
    require_reconciled(counts())
    profiles = {"records_in": 3, "records_out": 3, "dead_letters": 0}
    require_reconciled(counts(profiles=profiles))


@pytest.mark.parametrize(
    "changes",
    [
        {"filtered_out": 2},
        {"records_in": 11},
        {"catalogue": {"records_in": 3, "records_out": 1, "dead_letters": 1}},
        {"profiles": {"records_in": 3, "records_out": 1, "dead_letters": 1}},
    ],
)
def test_a_lost_record_is_found(changes):
    with pytest.raises(AssertionError, match="lost or counted twice"):
        require_reconciled(counts(**changes))


def test_every_rejected_row_has_its_dead_letter():
    log, items = {"missing_item_id": 1, "unparsable_rating": 2}, {"missing_item_id": 3}
    counted = counts(rejected_by_reason=log, catalogue={"rejected_by_reason": items})
    written = {"a.csv": {"missing_item_id": 2}, "b.csv": {"missing_item_id": 2}}
    rest = {"unparsable_rating": 2}
    require_written(counted, {**written, "c.csv": rest})
    for wrong in (written, {**written, "c.csv": {"unparsable_rating": 3}}):
        with pytest.raises(AssertionError, match="but dead letters"):
            require_written(counted, wrong)


def test_people_read_what_was_made():
    line = progress_line(counts(filtered_out=0), 1.25, skipped=False)
    assert line == (
        "examples: 10 interactions, 1 rejected -> 4 samples (train 3, validation 1, test 0), "
        "2 history only, 5 items, 0 leaks (unverified sources: none) in 1.2 s"
    )
    assert progress_line(counts(), 1.0, skipped=True) == "examples: unchanged, skipped (4 samples)"
    everything = counts(
        sampled_negatives=2,
        missing_negatives=1000,
        examples={"ctr": {"train": 4}, "rerank": {"train": 2, "test": 1}},
    )
    line = progress_line(everything, 1.0, skipped=False)
    assert "3 filtered out" in line
    assert "2 of them sampled negatives, 1,000 negatives missing (no item left)" in line
    assert "3 lists for reranking" in line
    mixed = counts(later_part_in_history={"train": 1200, "validation": 1, "test": 0})
    line = progress_line(mixed, 1.0, skipped=False)
    assert "2 history only, 1,200 training samples with later parts in their history, " in line


def leaks(cause: str | None, count: int = 1, reach: int = 0, violations: int = 2) -> dict:
    return {
        "violations": violations,
        "examples": ["user #1, item #2, position 3, k_u is 3"] * violations,
        "causes": {"user": {cause: count}} if cause else {},
        "largest_reach": reach,
    }


def test_no_violation_is_no_error():
    refuse_leaks([leaks(None, violations=0)])


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        (leak_check.LARGER_CAP, "up to 40, and split.knowledge_history_cap is smaller; set it to"),
        (leak_check.SHORTER_LOG, "look at data.filter and at what data.interactions.path names"),
        (leak_check.LATER_TRAINING, r"declare it \(knowledge.answers.user.seen: training\)"),
        (leak_check.LATER, "no setting makes these answers usable: make prompts"),
        (leak_check.OTHER_LOG, "the interactions or the catalogue changed since they were made"),
        (leak_check.OTHER_SPLIT, "made with another split; set split.by, split.fractions"),
        (None, "a fault of the split itself"),
    ],
)
def test_a_leak_is_refused_with_advice_that_fits(cause, advice):
    with pytest.raises(CommandError, match=advice) as raised:
        refuse_leaks([leaks(cause, 3, 40), leaks(None, violations=0), leaks(cause, 4, 30)])
    assert "showed 4 samples" in str(raised.value)
    assert cause is None or "Source 'user', 7 prompts: " in str(raised.value)
