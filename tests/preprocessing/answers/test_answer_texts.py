from __future__ import annotations

import pytest

from configs.knowledge import Encoder, SourceAnswers
from configs.loading import ConfigurationError
from preprocessing.answers.record import answer_of
from preprocessing.answers.texts import answer_texts

RECORD = {
    "source": "user",
    "entity_id": "7",
    "extraction": "individual",
    "answer": '{"genre": "noir"}',
    "prompt": "History: Antz 2 stars; The Fly 3 stars. Analyze.",
}


def text_of(record: dict[str, str], order: str = "answer", name: str = "user", **described):
    answers = SourceAnswers(
        **{"entity": "user", "individual": ["a.jsonl"], "history_entry_pattern": " stars[;.]"}
        | described
    )
    texts = answer_texts(name, answers, Encoder(text=order))
    answer = texts.to_encode(answer_of(record, texts.source, "individual"))
    return answer.text, answer.lacks_history


def test_the_text_that_the_configuration_asks_for():
    history = "Antz 2 stars; The Fly 3 stars"
    assert text_of(RECORD) == ('{"genre": "noir"}', False)
    assert text_of(RECORD, "history_and_answer") == (history + '. {"genre": "noir"}', False)
    assert text_of(RECORD, "answer_and_history", "user_genre", factor="genre") == (
        f"noir {history}.",
        False,
    )


def test_a_prompt_without_history_leaves_the_answer_alone():
    without_prompt = {key: RECORD[key] for key in RECORD if key != "prompt"}
    other_prompt = RECORD | {"prompt": "What does this user like?"}
    for record in (without_prompt, other_prompt):
        assert text_of(record, "history_and_answer") == (RECORD["answer"], True)
    assert text_of(RECORD, "history_and_answer", history_entry_pattern=None)[1]


def test_items_have_no_history():
    record = RECORD | {"source": "item"}
    assert text_of(record, "history_and_answer", "item", entity="item") == (RECORD["answer"], False)


def test_a_wrong_pattern_is_explained():
    with pytest.raises(
        ConfigurationError, match=r"answers\.user\.history_entry_pattern: not a reg"
    ):
        text_of(RECORD, "history_and_answer", history_entry_pattern="(")
