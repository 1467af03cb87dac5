from __future__ import annotations

from preprocessing.answers.checks import AnswerText, Duplicates
from preprocessing.answers.record import Answer, Place, RejectedAnswer


def add(duplicates: Duplicates, line: int, entity: str, text: str, **fields: str) -> str | None:
    answer = Answer(
        fields.get("source", "item"),
        entity,
        fields.get("extraction", "individual"),
        text,
        place=Place("f", line),
    )
    try:
        duplicates.add(answer, AnswerText(text))
    except RejectedAnswer as rejection:
        return str(rejection)
    return None


def test_entities_and_texts_are_remembered_once():
    duplicates = Duplicates()
    assert add(duplicates, 1, "1", "A film.") is None
    assert (
        add(duplicates, 2, "1", "a film")
        == "duplicate_entity: same entity as line 1 of f, with the same text"
    )
    assert (
        add(duplicates, 3, "1", "Another.")
        == "duplicate_entity: same entity as line 1 of f, with another text"
    )
    assert (
        add(duplicates, 4, "2", "“A  FILM!”")
        == "duplicate_answer: same text as line 1 of f, for another entity"
    )
    # What was rejected is not remembered.
    assert add(duplicates, 5, "2", "Another.") is None


def test_groups_and_other_sources_are_other_entities():
    duplicates = Duplicates()
    assert add(duplicates, 1, "1", "One.") is None
    assert add(duplicates, 2, "1", "Two.", extraction="collective") is None
    assert add(duplicates, 3, "1", "Three.", source="user") is None


def test_equal_texts_may_be_allowed_and_symbols_differ():
    duplicates = Duplicates(allow_equal_texts=True)
    assert add(duplicates, 1, "1", "A film.") is None
    assert add(duplicates, 2, "2", "A film.") is None
    symbols = Duplicates()
    assert add(symbols, 1, "1", "!!!") is None
    assert add(symbols, 2, "2", "???") is None
