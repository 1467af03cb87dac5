from __future__ import annotations

from preprocessing.answers.checks import AnswerText, ngrams, words_of


def test_words_are_compared_without_case_punctuation_and_width():
    assert words_of("“Toy Story”, 1995: it’s  ＦＵＮ_ny!") == [
        "toy",
        "story",
        "1995",
        "it’s",
        "fun",
        "ny",
    ]


def test_ngrams_of_short_and_long_sequences():
    assert ngrams("abcd", 3) == [("a", "b", "c"), ("b", "c", "d")]
    assert ngrams(["a"], 2) == []


def test_blanks_are_cut_off_but_control_characters_stay():
    assert AnswerText(" \n a \x1f").text == "a \x1f"
    assert AnswerText("a").prompt_words == []
