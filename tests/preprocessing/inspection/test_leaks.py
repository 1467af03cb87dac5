from __future__ import annotations

import json

from configs.command_line import CommandError
from preprocessing.examples import build_examples
from preprocessing.inspection.findings import CheckedStep, Findings
from preprocessing.inspection.folder_checks import validate_folders
from preprocessing.inspection.user_checks import check_leak_counts
from preprocessing.interactions.leak_check import digest_seen_prompts
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.small_data import user_answer, user_source, write_lines


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
