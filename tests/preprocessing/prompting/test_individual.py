from __future__ import annotations

import io
import json

import numpy as np
import pytest

from configs.knowledge import SourceAnswers
from preprocessing.interactions.first_interactions import FirstInteractions
from preprocessing.prompt_templates import (
    load_prompt_scenario,
    prompt_scenario_path,
)
from preprocessing.prompting.questions import factor_list, questions_of
from preprocessing.prompting.rendering import PromptFile, UserPrompts, write_item_prompts


def scenario_of(name: str):
    return load_prompt_scenario(prompt_scenario_path(name))


def question_of(name: str, source: str, entity: str, **more):
    described = SourceAnswers(entity=entity, individual=["later.jsonl"], **more)
    (question,) = questions_of(source, {source: described}, scenario_of(name), None)
    return question


def test_factors_are_listed_as_people_write_them():
    assert [factor_list(["a", "b", "c"][:length]) for length in (1, 2, 3)] == [
        "a",
        "a and b",
        "a, b, and c",
    ]


def test_items_with_a_title_are_asked_about(scratch):
    scratch.add_item("1", '"{title} One"', (0, 2))
    scratch.add_item("2", "", (1, 3))
    prompts = io.StringIO()
    file = PromptFile(prompts, io.StringIO(), scratch, True)
    counts, letters = write_item_prompts(
        question_of("books", "item", "item"), scratch, file, ["books.csv", "more.csv"]
    )
    assert counts == {"items": 2, "prompts": 1, "without_title": 1, "filtered_out": 0}
    assert [(letter["file"], letter["line"], letter["reason"]) for letter in letters] == [
        ("more.csv", 3, "missing_title")
    ]
    assert json.loads(prompts.getvalue())["prompt"] == (
        'Introduce the book "{title} One" and describe its attributes precisely (including but '
        "not limited to genre, author, writing style, theme, setting, length and complexity, time "
        "period, literary quality, and critical acclaim)."
    )


def test_items_that_are_filtered_out_are_not_asked_about(scratch):
    for number, title in enumerate(["A", "", "C", "", "E"]):
        scratch.add_item(f"i{number}", title, (0, number + 2))
    prompts = io.StringIO()
    file = PromptFile(prompts, io.StringIO(), scratch, True)
    kept = ["i4", "not in the catalogue", "i1", "i0"]
    counts, letters = write_item_prompts(
        question_of("books", "item", "item"), scratch, file, ["books.csv"], kept
    )
    assert counts == {"items": 5, "prompts": 2, "without_title": 1, "filtered_out": 2}
    asked = [json.loads(line)["entity_id"] for line in prompts.getvalue().splitlines()]
    assert asked == ["i0", "i4"]
    assert [letter["line"] for letter in letters] == [3]


def test_users_are_asked_about_by_their_history(scratch):
    prompts = io.StringIO()
    file = PromptFile(prompts, io.StringIO(), scratch, True)
    questions = [question_of("news", source, "user") for source in ("user", "again")]
    asking = UserPrompts(questions, scenario_of("news").templates, rated=True)
    seen = FirstInteractions(
        users=["secret-ann", "secret-bob", "secret-eve", "secret-joe"],
        user_of_row=np.array([0, 0, 0, 1, 3]),
        items=["x", "y", "z", "x", "y"],
        ratings=np.array([1.0, 0.0, 1.0, 0.0, 1.0]),
        liked=np.array([True, False, True, False, True]),
    )
    titles = ['"A"', '"B"', "", "", '"B"']
    asking.write(seen, titles, {"secret-joe": "The user is a baker."}, file)
    records = [json.loads(line) for line in prompts.getvalue().splitlines()]
    assert [(record["source"], record["entity_id"]) for record in records] == [
        ("user", "secret-ann"),
        ("again", "secret-ann"),
        ("user", "secret-joe"),
        ("again", "secret-joe"),
    ]
    assert records[0]["prompt"].startswith(
        'Given the news articles that a user was shown, oldest first: "A" (liked); "B" (disliked). '
    )
    assert records[2]["prompt"].startswith("The user is a baker. Given the news")
    assert "secret" not in "".join(record["prompt"] for record in records)
    # ann's prompt shows two titles, and was made from three interactions.
    assert [record["interactions_seen"] for record in records] == [3, 3, 1, 1]
    assert dict(asking.counts) == {
        "users": 4,
        "prompts": 2,
        "without_history": 1,
        "without_titles": 1,
        "interactions_without_title": 2,
    }


@pytest.mark.parametrize("name", ["books", "movies", "music", "news", "products"])
def test_without_ratings_a_history_says_what_was_liked(scratch, name):
    prompts = io.StringIO()
    file = PromptFile(prompts, io.StringIO(), scratch, True)
    seen = FirstInteractions(
        users=["ann"],
        user_of_row=np.array([0, 0]),
        items=["x", "y"],
        ratings=np.array([1.0, 0.0]),  # what stands there in place of ratings: the labels
        liked=np.array([True, False]),
    )
    asking = UserPrompts([question_of(name, "user", "user")], scenario_of(name).templates, False)
    asking.write(seen, ['"A"', '"B"'], {}, file)
    prompt = json.loads(prompts.getvalue())["prompt"]
    assert ': "A" (liked); "B" (disliked). ' in prompt and "star" not in prompt
