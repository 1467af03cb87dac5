from __future__ import annotations

import pytest

from preprocessing.answers.checks import (
    TRUNCATION_LEVELS,
    AnswerText,
    Thresholds,
    ends_inside_sentence,
    stopped_at_limit,
)

WHOLE = [
    "A drama. It ends well.",
    'It is called "Heat."',
    "What a film! Who would not like it?",
    "一部关于友谊的电影。很感人。",
    "He said: “Go.”",
    "Genres: **drama**, *crime*.",
    '{"genre": "drama", "mood": "dark"}',
    "A classic. Great fun 🎬",
]
FRAGMENTS = [
    "a quiet family drama",
    "Genre: drama. Director: Michael Mann",
    "The themes are these.\n- love and loss\n- the price of revenge",
    "Directed by J. R. R. Smith with Mr. Jones in the lead role",
]
RUNNING = [
    "Heat is a crime film. It was directed in 1995 by Michael",
    "Heat is a crime film. “It is great.” The cast includes Al Pacino and Robert De Niro",
    "一部关于友谊的电影。这部电影讲述了一个男人",
]
CLEAR = [
    "The film explores the",
    "It won Oscars for best picture, best director,",
    "Its director (",
    "Heat is a crime film. It was directed by",
    "A film about a bank robber who",
]


@pytest.mark.parametrize(
    ("texts", "first_level"),
    [(WHOLE, None), (FRAGMENTS, "strict"), (RUNNING, "likely"), (CLEAR, "clear")],
)
def test_each_level_finds_its_kind_of_ending_and_those_of_lower_levels(texts, first_level):
    for text in texts:
        found = [
            level
            for level in TRUNCATION_LEVELS
            if ends_inside_sentence(AnswerText(text), Thresholds(truncation=level))
        ]
        start = TRUNCATION_LEVELS.index(first_level) if first_level else len(TRUNCATION_LEVELS)
        assert found == list(TRUNCATION_LEVELS[start:]), text


def test_what_the_service_reports_counts_even_when_the_text_is_not_looked_at():
    off = Thresholds(truncation="off")
    for reason in ("length", "max_tokens"):
        answer = AnswerText("A whole sentence.", finish_reason=reason)
        assert reason in (stopped_at_limit(answer, off) or "")
    for reason in (None, "stop"):
        assert stopped_at_limit(AnswerText("A whole", finish_reason=reason), off) is None
