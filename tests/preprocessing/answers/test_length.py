from __future__ import annotations

from preprocessing.answers.checks import AnswerText, Thresholds, too_long, too_short

THRESHOLDS = Thresholds(minimum_characters=3, maximum_characters=5)


def test_both_limits_are_allowed_themselves():
    for text, short, long in [("ab", 1, 0), ("abc", 0, 0), ("äöüÄÖ", 0, 0), ("abcdef", 0, 1)]:
        answer = AnswerText(f"  {text}\n")
        assert bool(too_short(answer, THRESHOLDS)) == bool(short), text
        assert bool(too_long(answer, THRESHOLDS)) == bool(long), text
