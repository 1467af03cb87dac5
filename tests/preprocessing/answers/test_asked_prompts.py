from __future__ import annotations

import pytest

from configs.command_line import CommandError
from preprocessing.answers.prompts import read_asked_prompts
from tests.preprocessing.answers.small_files import prompt, write


def test_prompts_of_all_files_by_custom_id(tmp_path):
    paths = [
        write(
            tmp_path / "a.jsonl.gz", [prompt("user/x", "1", "Who?"), prompt("user/y", "2", "Why?")]
        ),
        write(tmp_path / "b.jsonl", [prompt("user/z", "3", "How?")]),
    ]
    prompts = read_asked_prompts(paths)
    assert {name: (asked.entity_id, asked.text) for name, asked in prompts.items()} == {
        "user/x": ("1", "Who?"),
        "user/y": ("2", "Why?"),
        "user/z": ("3", "How?"),
    }


def test_a_line_that_is_no_prompt_and_a_repeated_one_are_named(tmp_path):
    good = write(tmp_path / "good", [prompt("user/x", "1", "Who?")])
    for lines, message in [
        ([prompt("user/y", "1", "Who?"), {"custom_id": "user/z"}], "line 2: missing_field"),
        ([prompt("user/x", "2", "Why?")], "line 1: another prompt file has this custom_id"),
    ]:
        bad = write(tmp_path / "bad", lines)
        with pytest.raises(CommandError) as raised:
            read_asked_prompts([good, bad])
        assert str(raised.value).startswith(f"{bad}: {message}")
