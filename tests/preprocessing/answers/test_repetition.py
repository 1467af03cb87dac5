from __future__ import annotations

import pytest

from preprocessing.answers.checks import (
    AnswerText,
    Thresholds,
    degenerate_repetition,
    repeated_share,
)

VARIED = " ".join(f"word{number}" for number in range(300))


def test_the_share_is_one_minus_distinct_over_all():
    assert repeated_share("aaaa", 2) == pytest.approx(2 / 3)
    assert repeated_share("abcd", 2) == 0
    assert repeated_share("a", 2) == 0


@pytest.mark.parametrize(
    "text",
    [
        "the film is good and " * 20,
        VARIED + " and so on" * 30,
        "ha" * 200,
        "电影很好看" * 30,
    ],
)
def test_loops_are_found(text):
    assert degenerate_repetition(AnswerText(text), Thresholds())


@pytest.mark.parametrize(
    "text",
    [
        VARIED,
        "good good good",
        "很好的电影，讲述了一个男人多年以后回到家乡，重新找到了年轻时的爱情，以及他与父亲之间的和解，音乐优美，"
        "画面动人，节奏舒缓，演员表演自然，结局令人难忘，获得多个奖项。",
        "Genre: drama. Mood: dark. Plot: a heist. Cast: Al Pacino, Robert De Niro, Val Kilmer.",
    ],
)
def test_other_texts_pass(text):
    assert degenerate_repetition(AnswerText(text), Thresholds()) is None


def test_the_threshold_counts():
    text = "a b c d e f g h " * 2  # 13 4-grams, 8 of them distinct: 5 / 13 = 0.385 repeated
    assert degenerate_repetition(AnswerText(text), Thresholds(maximum_repetition=0.38))
    assert degenerate_repetition(AnswerText(text), Thresholds(maximum_repetition=0.39)) is None
