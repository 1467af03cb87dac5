from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from examples.movielens_small import control_answers


def records(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert control_answers.main(["--out", str(tmp_path), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert counts == {
        "random_words": 9066,
        "item_individual": 2245,
        "item_collective": 191,
        "links_shuffled": 9061,
        "links_random": 9061,
    }
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
    with gzip.open("examples/movielens_small/answers/item_links.jsonl.gz", "rt") as file:
        links = names_of(map(json.loads, file))
    shuffled = names_of(records(tmp_path / "links_shuffled.jsonl"))
    dealt = names_of(records(tmp_path / "links_random.jsonl"))
    assert sorted(shuffled.values()) == sorted(links.values())
    assert Counter(sum(dealt.values(), [])) == Counter(sum(links.values(), []))
    assert list(links) == list(shuffled) == list(dealt)
    assert [*map(len, links.values())] == [*map(len, dealt.values())]
    for control in (shuffled, dealt):
        assert np.mean([control[movie] == links[movie] for movie in links]) < 0.01
    files = sorted(tmp_path.iterdir())
    first = [path.read_bytes() for path in files]
    assert control_answers.main(["--out", str(tmp_path)]) == 0
    assert [path.read_bytes() for path in files] == first


def names_of(answers: Iterable[dict[str, str]]) -> dict[str, list[str]]:
    return {answer["entity_id"]: json.loads(answer["answer"])["links"] for answer in answers}
