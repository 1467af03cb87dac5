from __future__ import annotations

import json

import pytest

from preprocessing.inspection.findings import Findings
from preprocessing.inspection.folder_checks import check_groups, check_prompts


def prompt(number: int) -> str:
    return json.dumps(
        {
            "custom_id": f"item/{number}",
            "source": "item",
            "entity_id": str(number),
            "extraction": "individual",
            "prompt": f"What is {number}?",
        }
    )


def test_prompts_are_read_and_counted(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(prompt(number) for number in range(5)) + "\n")
    findings = Findings()
    manifest = {"written": [{"prompts": 2}, {"prompts": 3}]}
    assert check_prompts(path, manifest, "p", findings) == {"prompts": 5}
    assert findings.by_check() == {}
    check_prompts(path, {"written": [{"prompts": 4}]}, "p", findings)
    assert findings.by_check() == {"wrong_record_count": 1}
    check_prompts(path, {"written": "many"}, "p", findings)
    assert findings.by_check() == {"wrong_record_count": 1}


@pytest.mark.parametrize(
    ("text", "checks"),
    [
        ("user_id,group_id\nu1,g1\nu2,g2\n", {}),
        ('user_id,group_id\n"a,b",g1\n', {}),
        ("user_id,group_id\nu1,g1\nu1,g1\n", {"duplicate_entity": 1}),
        ("user_id,group_id\nu1\n,g1\nu1,\n", {"empty_id": 3}),
        ("user_id\nu1\n", {"wrong_columns": 1}),
        ("", {"wrong_columns": 1}),
    ],
)
def test_groups(tmp_path, text, checks):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    findings = Findings()
    check_groups(path, {}, "g", findings)
    assert findings.by_check() == checks


def test_groups_are_counted(tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text("item_id,group_id\ni1,g1\ni2,g1\ni3,g2\n")
    findings = Findings()
    good = {"counts": {"grouped": 3}, "groups": {"number": 2}}
    assert check_groups(path, good, "g", findings) == {"entities": 3, "groups": 2}
    assert findings.by_check() == {}
    check_groups(path, {"counts": {"grouped": 4}, "groups": {"number": 3}}, "g", findings)
    messages = [finding.message for finding in findings.kept()]
    assert messages == [
        "has 3 entities, the manifest counts 4",
        "has 2 groups, the manifest counts 3",
    ]
