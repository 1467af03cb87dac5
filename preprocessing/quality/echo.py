"""Answers that give the prompt back."""

from __future__ import annotations

from preprocessing.quality.text import AnswerText, ngrams
from preprocessing.quality.thresholds import Thresholds

_N = 5
# An answer may well begin with the few words of a short prompt ("Toy Story (1995)").
_OPENING_WORDS = 8
_MINIMUM_NGRAMS = 8


def prompt_echo(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """How a text repeats its prompt; None also when the prompt is unknown."""
    words, prompt = answer.words, answer.prompt_words
    if not prompt:
        return None
    if words == prompt:
        return "the answer is the prompt"
    opening = prompt[: 2 * _OPENING_WORDS]
    if len(opening) >= _OPENING_WORDS and words[: len(opening)] == opening:
        return "the answer starts with the prompt"
    grams = ngrams(words, _N)
    if len(grams) < _MINIMUM_NGRAMS:
        return None
    known = set(ngrams(prompt, _N))
    share = sum(gram in known for gram in grams) / len(grams)
    if share <= thresholds.maximum_echo:
        return None
    return f"{share:.0%} of the answer's phrases are the prompt's"
