from __future__ import annotations

from preprocessing.answers.record import Answer, Place
from preprocessing.answers.summary import FileCounts, summary_lines
from preprocessing.dead_letters import dead_letter


def test_a_file_named_twice_is_counted_together():
    counts = FileCounts(["a", "b", "a"], ["klg", "records", "klg"])
    for file in "ab":
        counts.add(Answer("item", "1", "individual", "x", place=Place(file, 1)))
    counts.add(dead_letter("a", 2, "refusal", ""))
    assert counts.entries() == [
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
                },
            }
        )
    )
    assert lines[0] == "2,000 answers read, 1,500 accepted (1,500 individual), 500 rejected"
    assert lines[1].split()[:3] == ["400", "20.0%", "refusal:"]
    assert lines[2].split()[:3] == ["100", "5.0%", "malformed_json:"]
    assert lines[3] == "characters: 10 to 3,000, median 1,050, 90 % of them 11 to 2,000"
    assert len(lines) == 4


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
