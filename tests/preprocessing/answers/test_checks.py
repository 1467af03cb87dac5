from __future__ import annotations

import gzip
import json

import pytest

from preprocessing.answers.checks import AnswerText, Thresholds, check_text
from preprocessing.answers.record import RejectedAnswer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (AnswerText("Ok.", finish_reason="length"), "truncated"),
        (AnswerText("A fine film, so", finish_reason="content_filter"), "content_filter"),
        (AnswerText("I'm sorry, I can't."), "refusal"),
        (AnswerText("A caf\ufffd in Paris, a love story."), "bad_encoding"),
        (AnswerText("Describe Heat.", "Describe Heat."), "prompt_echo"),
        (AnswerText("[title] is"), "placeholder"),
        (AnswerText("and then and then " * 20), "degenerate_repetition"),
        (AnswerText("A film about the"), "truncated"),
        (AnswerText("Good film."), "too_short"),
        (AnswerText(" ".join(f"word{i}" for i in range(5000))), "too_long"),
    ],
)
def test_the_surest_reason_comes_first(answer, reason):
    with pytest.raises(RejectedAnswer) as raised:
        check_text(answer, Thresholds())
    assert raised.value.reason == reason


@pytest.mark.parametrize("truncation", ["likely", "strict"])
def test_every_bundled_answer_passes(repository_root, truncation):
    thresholds = Thresholds(truncation=truncation, language="en")
    files = sorted((repository_root / "examples/movielens_small/answers").glob("*.jsonl.gz"))
    count = 0
    for path in files:
        for line in gzip.open(path, "rt", encoding="utf-8"):
            record = json.loads(line)
            check_text(AnswerText(record["answer"], record["prompt"]), thresholds)
            count += 1
    assert count >= 3107
