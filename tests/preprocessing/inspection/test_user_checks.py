from __future__ import annotations

import json

import pytest

from configs.command_line import CommandError
from preprocessing.examples import build_examples
from preprocessing.inspection.findings import CheckedStep, Findings
from preprocessing.inspection.folder_checks import validate_folders
from preprocessing.inspection.user_checks import PartTimes, UserRanges, check_leak_counts
from preprocessing.interactions.leak_check import digest_seen_prompts
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.small_data import user_answer, user_source, write_lines

TRAIN, VALIDATION, TEST = range(3)


def problems(split_by: str, cap: int, examples: list[tuple[int, int, int]]) -> list[str]:
    """Checks that fail for one user's examples: part, position, time."""
    users = UserRanges(split_by, cap)
    for part, position, time in examples:
        users.add(b"user", part, position, time)
    return [check for check, _ in users.problems()]


@pytest.mark.parametrize(
    ("cap", "first", "last", "expected"),
    [
        # k_u = min(floor((n + 1) / 2), cap), n = last + 1
        (30, 3, 5, []),
        (30, 2, 5, ["leak_rule"]),
        (2, 2, 5, []),
        (2, 1, 5, ["leak_rule"]),
        (30, 3, 4, []),
        (30, 2, 4, ["leak_rule"]),
        (30, 1, 1, []),
        (30, 0, 0, ["leak_rule"]),
        (0, 0, 9, []),
    ],
)
def test_leak_rule(cap, first, last, expected):
    assert problems("user", cap, [(TRAIN, last, 9), (TRAIN, first, 1)]) == expected


@pytest.mark.parametrize(
    ("examples", "expected"),
    [
        ([(TRAIN, 3, 30), (VALIDATION, 4, 40), (TEST, 5, 50)], []),
        ([(TRAIN, 3, 40), (VALIDATION, 4, 40), (TEST, 5, 40)], []),
        ([(TRAIN, 3, 30), (TEST, 5, 50)], []),
        ([(TRAIN, 4, 30), (VALIDATION, 4, 40)], ["parts_out_of_order"]),
        ([(TRAIN, 3, 30), (VALIDATION, 5, 40), (TEST, 4, 50)], ["parts_out_of_order"]),
        ([(TRAIN, 3, 41), (VALIDATION, 4, 40)], ["parts_out_of_order"]),
        ([(TRAIN, 5, 30), (TEST, 4, 50)], ["parts_out_of_order"]),
    ],
)
def test_parts_follow_each_other_for_a_split_by_time(examples, expected):
    assert problems("time", 2, examples) == expected
    assert problems("column", 2, examples) == []


def test_times_may_go_back_where_a_column_gives_the_order():
    users = UserRanges("time", 2, ordered_by_time=False)
    users.add(b"ann", TRAIN, 3, 41)
    users.add(b"ann", VALIDATION, 4, 40)
    users.add(b"bob", TRAIN, 5, 30)
    users.add(b"bob", TEST, 4, 50)
    ((check, message),) = users.problems()
    assert check == "parts_out_of_order" and "position 5 is in train" in message


def test_a_user_has_one_part_in_a_split_by_user():
    examples = [(TRAIN, 3, 30), (TEST, 4, 40)]
    assert problems("user", 2, examples) == ["user_in_two_parts"]
    assert problems("user", 2, [(TEST, 3, 30), (TEST, 4, 20)]) == []


def test_users_are_apart_and_their_ids_hidden():
    users = UserRanges("time", 2)
    users.add(b"alice", TEST, 3, 30)
    users.add(b"bob", TRAIN, 1, 30)
    users.add(b"bob", TRAIN, 5, 50)
    ((check, message),) = users.problems()
    assert check == "leak_rule" and "bob" not in message
    assert "position 1, but of 6 interactions the LLM may have seen the first 2" in message


def test_parts_follow_each_other_over_all_users():
    times = PartTimes()
    for part, time in [(0, 5), (1, 7), (0, 6), (2, 9), (1, 8)]:
        times.add(part, time)
    assert list(times.problems()) == []
    times.add(0, 7)
    assert list(times.problems()) == ["train ends at time 7, validation begins at 7"]


def test_missing_parts_are_left_out():
    times = PartTimes()
    assert list(times.problems()) == []
    times.add(2, 3)
    times.add(0, 4)
    assert list(times.problems()) == ["train ends at time 4, test begins at 3"]


def lines(tmp_path, counts: object) -> list[str]:
    findings = Findings()
    check_leak_counts(CheckedStep(tmp_path, {"counts": counts}, "examples", findings))
    return [finding.line() for finding in findings.kept()]


def test_no_violation_and_no_unverified_source(tmp_path):
    assert lines(tmp_path, {"leak_violations": 0, "leak_check": {"unverified_sources": []}}) == []


def test_violations_are_errors_and_unverified_sources_notes(tmp_path):
    counts = {"leak_violations": 3, "leak_check": {"unverified_sources": ["item"]}}
    error, note = lines(tmp_path, counts)
    assert "3 samples were shown to the LLM; run 'python -m preprocessing examples'" in error
    assert note.startswith("note: examples/manifest.json: source 'item': nothing shows")
    declared = {"unverified_sources": [], "declared_sources": {"user": "training"}}
    (note,) = lines(tmp_path, {"leak_violations": 0, "leak_check": declared})
    assert note.startswith("note: examples/manifest.json: source 'user': declared to be made from")
    (missing,) = lines(tmp_path, {})
    assert "counts no 'leak_violations'" in missing


def test_what_prompts_show_is_looked_up_again(small_scenario, small_folder):
    answers = small_folder / "users.jsonl"
    write_lines(answers, [user_answer("ann", 0, 1), user_answer("bob", 0, 1)])
    source = user_source(small_folder, " stars;")
    scenario = small_scenario(knowledge__answers__user=source, data__history_length=200)
    build_examples(scenario)
    folder = WorkDirectory(scenario.work_dir).examples.path

    def found() -> dict[str, int]:
        try:
            result = validate_folders([folder], strict=False)
        except CommandError as error:
            result = error.result
        kinds = ("leak_rule", "prompts_not_checked", "damaged_manifest")
        return {kind: count for kind, count in result["by_check"].items() if kind in kinds}

    assert found() == {}
    # The same examples, with answers whose prompts show a later film, and an honest digest of them.
    write_lines(answers, [user_answer("ann", 0, 3), user_answer("bob", 0, 1)])
    assert found() == {"prompts_not_checked": 1}
    manifest = json.loads((folder / "manifest.json").read_text())
    digests = digest_seen_prompts(scenario.knowledge.answers, ["user"])
    (folder / "manifest.json").write_text(json.dumps({**manifest, "seen_interactions": digests}))
    assert found() == {"leak_rule": 1}
    answers.unlink()
    assert found() == {"prompts_not_checked": 1}
