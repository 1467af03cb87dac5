from __future__ import annotations

import pytest

from preprocessing.answers.checks import AnswerText, Thresholds, content_filter, refusal


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I have no opinions about films.",
        "I'm sorry, but I cannot help with that request.",
        "I’m sorry, but I can’t do this.",
        "I am sorry, there is no such film.",
        "I don't have any information about this movie.",
        "I do not have access to the internet, so the film is unknown to me.",
        "Unfortunately, I am unable to provide details.",
        "I cannot accurately describe this film.",
        "Sorry, I am not familiar with it.",
        "I'm not familiar with a movie of this title.",
        "To describe these movies, I would need specific titles.",
        "Please provide the names of the movies.",
        "Could you please share more about the user?",
    ],
)
def test_refusals(text):
    assert refusal(AnswerText(text), Thresholds())


@pytest.mark.parametrize(
    "text",
    [
        "A lawyer who is unable to lie for a day: I cannot praise Jim Carrey enough.",
        '"I Can\'t Sleep" is a French drama. Its hero says sorry too late.',
        "A robot film: the hero is an artificial intelligence that dreams.",
        "This group does not have access to arthouse films and dislikes them.",
        "The thriller Sorry, Wrong Number (1948) stars Barbara Stanwyck.",
        "A film. " * 50 + "The robot says: as an AI I cannot help you.",
        "A film. " * 70 + "Please provide popcorn.",
    ],
)
def test_films_about_refusing_are_none(text):
    assert refusal(AnswerText(text), Thresholds()) is None


def test_what_the_service_reports_counts_whatever_the_text():
    for check, reason in [(content_filter, "content_filter"), (refusal, "refusal")]:
        assert check(AnswerText("A fine film.", finish_reason=reason), Thresholds())
        for other in ("stop", None):
            assert check(AnswerText("A fine film.", finish_reason=other), Thresholds()) is None
