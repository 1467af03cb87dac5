from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from preprocessing.answers.record import asked_sources, chosen_sources, other_sources

FILM = {"entity": "item", "collective": ["a.jsonl"], "grouping": {}}


@pytest.fixture
def answers(small_scenario):
    scenario = small_scenario(
        knowledge__answers__film=FILM | {"factors": ["genre", "theme"]},
        knowledge__answers__user={"entity": "user", "individual": ["b.jsonl"]},
    )
    return scenario.knowledge.answers


def test_factors_of_one_answer_are_asked_about_once(answers):
    assert list(answers) == ["item", "film_genre", "film_theme", "user"]
    asked = asked_sources(answers)
    assert list(asked) == ["item", "film", "user"]
    assert asked["film"] == answers["film_genre"]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (None, ["item", "film", "user"]),
        (["user", "film"], ["film", "user"]),
        (["film_theme", "film_genre"], ["film"]),
        ([], []),
    ],
)
def test_sources_are_chosen_by_either_name(answers, names, chosen):
    assert list(chosen_sources(answers, names)) == chosen


def test_unknown_sources_are_named(answers):
    with pytest.raises(ConfigurationError, match="no source 'film_plot' .*film_theme, user"):
        chosen_sources(answers, ["film_plot"])


def test_factors_of_one_answer_have_the_same_groups(small_scenario):
    scenario = small_scenario(
        knowledge__answers__film_genre=FILM | {"factor": "genre"},
        knowledge__answers__film_theme=FILM | {"factor": "theme", "grouping": {"seed": 1}},
    )
    with pytest.raises(ConfigurationError, match="film_theme.grouping: differs"):
        asked_sources(scenario.knowledge.answers)


def test_other_sources_are_those_that_records_name(answers):
    assert other_sources(answers, "item") == {"film", "user"}
    assert other_sources(answers, "film_genre") == {"item", "user"}
