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
    assert counts == {"title_genres": 9066, "random_words": 9066, "item_individual": 2245}
    titles = records(tmp_path / "title_genres.jsonl")
    assert titles[0] == {
        "custom_id": "title_genres/1",
        "source": "title_genres",
        "entity_id": "1",
        "extraction": "individual",
        "answer": "Toy Story (1995). Genres: Adventure, Animation, Children, Comedy, Fantasy.",
    }
    words = records(tmp_path / "random_words.jsonl")
    assert {len(record["answer"].split()) for record in words} == {30}
    assert len({record["answer"] for record in words}) == 9066
    bundled = records(tmp_path / "item_individual.jsonl")
    assert bundled[0]["source"] == "item_individual"
    assert bundled[0]["answer"].startswith("Pixar's groundbreaking first feature")
    first = (tmp_path / "random_words.jsonl").read_bytes()
    assert control_answers.main(["--out", str(tmp_path)]) == 0
    assert (tmp_path / "random_words.jsonl").read_bytes() == first
