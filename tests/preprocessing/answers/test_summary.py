from __future__ import annotations

import json

import numpy as np
import pytest

from preprocessing.answers.record import Answer
from preprocessing.answers.summary import QualitySummary
from preprocessing.dead_letters import dead_letter


def test_counts_shares_and_percentiles():
    summary = QualitySummary()
    lengths = [3, 50, 7, 400, 12]
    for number, length in enumerate(lengths):
        summary.accept(
            Answer(
                "item",
                str(number),
                "collective" if number else "individual",
                "x" * length,
                "why?" if number < 2 else None,
                "m" if number else None,
                {"prompt_tokens": 2, "completion_tokens": number, "other": 5} if number else None,
            )
        )
    for line, reason in enumerate(["refusal"] * 4 + ["truncated"], start=1):
        summary.reject(dead_letter("f", line, reason, f"detail {line}"))
    assert summary.counts() == {
        "read": 10,
        "accepted": 5,
        "rejected": 5,
        "rejected_by_reason": {"refusal": 4, "truncated": 1},
    }
    quality = summary.quality()
    assert quality["share_by_reason"] == {"refusal": 0.4, "truncated": 0.1}
    assert quality["extractions"] == {"collective": 4, "individual": 1}
    assert quality["models"] == {"m": 4, "unknown": 1}
    assert quality["tokens"] == {"prompt_tokens": 8, "completion_tokens": 10}
    assert quality["without_prompt"] == 3
    characters = quality["characters"]
    assert (characters["minimum"], characters["median"], characters["maximum"]) == (3, 12, 400)
    assert characters["mean"] == pytest.approx(94.4)
    assert characters["p95"] == pytest.approx(np.quantile(lengths, 0.95))
    assert [example["line"] for example in summary.examples()["refusal"]] == [1, 2, 3]
    assert summary.examples()["truncated"] == [{"file": "f", "line": 5, "detail": "detail 5"}]
    json.dumps(quality, allow_nan=False)


def test_nothing_read():
    summary = QualitySummary()
    assert summary.counts()["read"] == 0
    assert summary.quality()["characters"] is None
