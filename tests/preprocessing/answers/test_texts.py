from __future__ import annotations

import re

import pytest

from configs.knowledge import Encoder, SourceAnswers
from preprocessing.answers.record import answer_of
from preprocessing.answers.texts import answer_texts, history_part, with_history

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


PROMPT = (
    "Given a user's movie rating history: Star Trek: First Contact (1996) 2 stars; "
    "The Fly (1986) 2.5 stars. Analyze the user's preferences: be short."
)
HISTORY = "Star Trek: First Contact (1996) 2 stars; The Fly (1986) 2.5 stars"


@pytest.mark.parametrize(
    "pattern",
    [
        r" stars[;.]",  # the end of an entry
        r"\([0-9]{4}\) [0-9.]+ stars",
        r"[A-Z][^;]*? \([0-9]{4}\) [0-9.]+ stars[;.]",  # the whole entry, introduction in the first
    ],
)
def test_the_history_goes_from_the_first_entry_to_the_last(pattern):
    start = "" if not pattern.startswith("[A-Z]") else "Given a user's movie rating history: "
    assert history_part(PROMPT, re.compile(pattern)) == start + HISTORY


def test_entries_that_match_as_a_whole_need_no_introduction():
    prompt = 'They rated "Antz", 2 stars; "The Fly: II", 3 stars; and so on. What do they like?'
    entry = re.compile(r'"[^"]+", \d stars; ')
    assert history_part(prompt, entry) == '"Antz", 2 stars; "The Fly: II", 3 stars'


@pytest.mark.parametrize(
    ("prompt", "pattern", "history"),
    [
        ("History: Antz (1998) 2 stars. Analyze", " stars[;.]", "Antz (1998) 2 stars"),
        ('History: "Antz", 2 stars. Analyze', '"[^"]+", [0-9] stars', '"Antz", 2 stars'),
        ("Watched Antz 2 stars. Analyze", " stars", "Watched Antz 2 stars"),
    ],
)
def test_a_single_entry(prompt, pattern, history):
    assert history_part(prompt, re.compile(pattern)) == history


def test_entries_on_lines_of_their_own():
    prompt = "Listed below\n- Antz: 2 stars\n- The Fly, 3 stars\n\nAnalyze"
    assert history_part(prompt, re.compile("\n- ")) == "- Antz: 2 stars\n- The Fly, 3 stars"
    assert history_part(prompt.split("\n\n")[0], re.compile("\n- ")).endswith("3 stars")


def test_no_match_is_no_history():
    assert history_part(PROMPT, re.compile("rated")) == ""


def test_answer_and_history_as_one_text():
    assert with_history("Likes noir.", "Antz 2 stars", "history_and_answer") == (
        "Antz 2 stars. Likes noir."
    )
    assert with_history("Likes noir.", "Antz 2 stars", "answer_and_history") == (
        "Likes noir. Antz 2 stars."
    )
