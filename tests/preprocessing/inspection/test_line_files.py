from __future__ import annotations

import json

import pytest

from configs.command_line import CommandError
from preprocessing.inspection.views import view_dead_letters, view_prompts, view_vocabulary


def test_dead_letters_by_file_and_reason(tmp_path):
    path = tmp_path / "d.jsonl"
    letters = [{"file": f, "line": n, "reason": r} for n, (f, r) in enumerate(["ax", "bx", "ax"])]
    path.write_text("".join(json.dumps(letter) + "\n" for letter in letters))
    view = view_dead_letters(path, records=1, limit=10)
    assert view == {
        "lines_read": 3,
        "by_reason": {"a": {"x": 2}, "b": {"x": 1}},
        "records": letters[:1],
    }
    assert view_dead_letters(path, records=1, limit=2)["lines_read"] == 2


def test_prompts_by_source(tmp_path):
    path = tmp_path / "p.jsonl"
    lines = [{"source": "item", "extraction": "individual", "prompt": "x" * n} for n in (1, 3, 9)]
    path.write_text("\n".join(map(json.dumps, lines)))
    view = view_prompts(path, records=0, limit=10)
    assert view["sources"] == {"item, individual": 3} and view["records"] == []
    assert view["prompt_characters"] == {"minimum": 1, "median": 3.0, "maximum": 9}


@pytest.mark.parametrize(("line", "message"), [("no", "not JSON"), ("[1]", "but not an object")])
def test_a_line_of_another_kind_is_named(tmp_path, line, message):
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "x"}\n' + line)
    with pytest.raises(CommandError, match=rf"line 2: .*{message}"):
        view_prompts(path, records=1, limit=10)


def test_vocabularies(tmp_path):
    path = tmp_path / "v.txt"
    path.write_text("a\nb\nc\n")
    assert view_vocabulary(path, 2) == {"values": 3, "first": ["a", "b"], "last": ["b", "c"]}
