from __future__ import annotations

from preprocessing.dead_letters import dead_letter
from preprocessing.knowledge.building import no_usable_answer


def test_the_commonest_reason_is_explained_where_it_occurs_first():
    letters = [
        dead_letter("a.jsonl", 1, "malformed_json", "Expecting value"),
        dead_letter("b.jsonl", 2, "extraction_mismatch", "the record says ..."),
        dead_letter("b.jsonl", 3, "extraction_mismatch", "another record says ..."),
    ]
    assert str(no_usable_answer("film", ["a.jsonl", "b.jsonl"], letters)) == (
        "knowledge.answers.film: every answer was rejected (extraction_mismatch 2, "
        "malformed_json 1). b.jsonl, line 2: the record says .... Name files of answers about "
        "single entities under 'individual', files of answers about groups under 'collective'"
    )


def test_a_reason_without_advice_of_its_own_gets_the_general_one():
    letters = [dead_letter("a.jsonl", 7, "blank_answer", "field 'answer' is empty")]
    message = str(no_usable_answer("film", ["a.jsonl"], letters))
    assert message.endswith("field 'answer' is empty. Correct the answers, or name other files")


def test_files_without_answers_are_named():
    message = str(no_usable_answer("film", ["a.jsonl", "b.jsonl"], []))
    assert message == "knowledge.answers.film: there are no answers in a.jsonl, b.jsonl"


def test_files_that_hold_answers_of_other_sources_only_are_named():
    message = str(no_usable_answer("film", ["a.jsonl"], [], elsewhere=1200))
    assert "all 1,200 answers in a.jsonl are of other sources" in message
