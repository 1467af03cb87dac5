from __future__ import annotations

import json
from pathlib import Path

import pytest

from examples.movielens_small import control_answers


def records(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert control_answers.main(["--out", str(tmp_path), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts == {"random_words": 9066, "item_individual": 2245, "item_collective": 191}
    words = records(tmp_path / "random_words.jsonl")
    assert {name: words[0][name] for name in words[0] if name != "answer"} == {
        "custom_id": "random_words/1",
        "source": "random_words",
        "entity_id": "1",
        "extraction": "individual",
    }
    assert {len(record["answer"].split()) for record in words} == {30}
    assert len({record["answer"] for record in words}) == 9066
    bundled = records(tmp_path / "item_individual.jsonl")
    assert bundled[0]["source"] == "item_individual"
    assert bundled[0]["answer"].startswith("Pixar's groundbreaking first feature")
    groups = records(tmp_path / "item_collective.jsonl")
    assert {name: groups[0][name] for name in groups[0] if name != "answer"} == {
        "custom_id": "item_collective/group/0",
        "source": "item_collective",
        "entity_id": "0",
        "extraction": "collective",
    }
    first = (tmp_path / "random_words.jsonl").read_bytes()
    assert control_answers.main(["--out", str(tmp_path)]) == 0
    assert (tmp_path / "random_words.jsonl").read_bytes() == first
