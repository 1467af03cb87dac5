from __future__ import annotations

import json

import numpy as np
import pytest

from preprocessing.answers.record import Answer, Location
from preprocessing.answers.summary import AnswerSummary, summary_lines
from preprocessing.dead_letters import dead_letter


def test_counts_shares_and_percentiles():
    summary = AnswerSummary(["f"], ["records"])
    lengths = [3, 50, 7, 400, 12]
    answers = [
        Answer(
            "item",
            str(number),
            "collective" if number else "individual",
            "x" * length,
            "why?" if number < 2 else None,
            "m" if number else None,
            {"prompt_tokens": 2, "completion_tokens": number, "other": 5} if number else None,
            location=Location("f", number),
        )
        for number, length in enumerate(lengths)
    ]
    letters = [
        dead_letter("f", line, reason, f"detail {line}")
        for line, reason in enumerate(["refusal"] * 4 + ["truncated"], start=1)
    ]
    assert list(summary.counted([*answers, *letters])) == [*answers, *letters]
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
    summary = AnswerSummary([], [])
    assert summary.counts()["read"] == 0
    assert summary.quality()["characters"] is None


def test_a_file_named_twice_is_counted_together():
    summary = AnswerSummary(["a", "b", "a"], ["klg", "records", "klg"])
    answers = [Answer("item", "1", "individual", "x", location=Location(file, 1)) for file in "ab"]
    assert len(list(summary.counted([*answers, dead_letter("a", 2, "refusal", "")]))) == 3
    assert summary.files() == [
        {"file": "a", "format": "klg", "read": 2, "accepted": 1, "rejected": 1},
        {"file": "b", "format": "records", "read": 1, "accepted": 1, "rejected": 0},
    ]


def test_lines_for_people_begin_with_the_most_frequent_reason():
    lengths = {"minimum": 10, "p5": 11.0, "median": 1050.5, "p95": 2000.0, "maximum": 3000}
    lines = list(
        summary_lines(
            {
                "read": 2000,
                "accepted": 1500,
                "rejected": 500,
                "rejected_by_reason": {"malformed_json": 100, "refusal": 400},
                "quality": {
                    "share_by_reason": {"malformed_json": 0.05, "refusal": 0.2},
                    "characters": lengths,
                    "extractions": {"individual": 1500},
                    "without_prompt": 0,
                    "names": {
                        **{"lists": 20, "names": 1200, "usable": 1199},
                        **{"dropped": {"no_name": 1}, "members_left_out": 3},
                    },
                },
            }
        )
    )
    assert lines[0] == "2,000 answers read, 1,500 accepted (1,500 individual), 500 rejected"
    assert lines[1].split()[:3] == ["400", "20.0%", "refusal:"]
    assert lines[2].split()[:3] == ["100", "5.0%", "malformed_json:"]
    assert lines[3] == "characters: 10 to 3,000, median 1,050, 90 % of them 11 to 2,000"
    assert lines[4] == (
        "names: 1,200 in 20 lists, 1,199 of use; dropped: 1 no_name; 3 members of groups have none"
    )
    assert len(lines) == 5


def rejected(reasons: dict[str, int], accepted: int = 0) -> str:
    total = sum(reasons.values())
    result = {
        "read": accepted + total,
        "accepted": accepted,
        "rejected": total,
        "rejected_by_reason": reasons,
        "quality": {
            "share_by_reason": dict.fromkeys(reasons, 0.5),
            "characters": None,
            "names": None,
            "extractions": {},
            "without_prompt": 0,
        },
    }
    return "\n".join(summary_lines(result))


def test_results_of_hashed_requests_are_sent_to_the_command_that_hashed_them():
    for reason in ("unknown_custom_id", "invalid_custom_id"):
        assert "--read-batch" in rejected({reason: 90, "failed_request": 9})
    assert "--read-batch" not in rejected({"unknown_custom_id": 90}, accepted=1)
    assert "--read-batch" not in rejected({"refusal": 2})
