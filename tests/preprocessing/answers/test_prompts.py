from __future__ import annotations

import hashlib
import json

import pytest

from configs.command_line import CommandError
from preprocessing.answers.prompts import Prompt, read_asked_prompts, read_prompts
from tests.preprocessing.answers.small_files import prompt, write


def test_a_prompt_is_read_with_its_line_and_hash(tmp_path):
    record = {
        "custom_id": "user_liked/group/7",
        "source": "user_liked",
        "entity_id": "7",
        "extraction": "collective",
        "model": None,
        "prompt": "Qu'aiment-ils ? Amélie",
        "prompt_sha256": hashlib.sha256("Qu'aiment-ils ? Amélie".encode()).hexdigest().upper(),
    }
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n\n" + json.dumps(record))
    assert list(read_prompts(str(path))) == [
        Prompt(
            line=3,
            custom_id="user_liked/group/7",
            source="user_liked",
            entity_id="7",
            extraction="collective",
            text="Qu'aiment-ils ? Amélie",
            sha256=record["prompt_sha256"].lower(),
        )
    ]


def test_what_a_prompt_reached_over_is_read_or_is_a_dead_letter(tmp_path):
    record = {"custom_id": "1", "source": "user", "entity_id": "ann", "extraction": "individual",
              "prompt": "?"}  # fmt: skip
    path = tmp_path / "prompts.jsonl"
    records = [
        {**record, "custom_id": f"{number}", "interactions_seen": value}
        for number, value in enumerate([3, None, -1, "3", True])
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    good, unknown, *letters = read_prompts(str(path))
    assert (good.interactions_seen, unknown.interactions_seen) == (3, None)
    assert [letter["reason"] for letter in letters] == ["wrong_type"] * 3


def test_half_a_surrogate_pair_is_a_dead_letter(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text(
        r'{"custom_id": "1", "source": "s", "entity_id": "1", "extraction": "individual",'
        r' "prompt": "\ud83d"}'
    )
    (letter,) = read_prompts(str(path))
    assert letter["reason"] == "invalid_text" and letter["line"] == 1


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
