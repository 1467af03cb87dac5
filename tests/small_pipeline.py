"""Every step of preprocessing on a log of 1,500 interactions, one command each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import yaml

from benchmarks import synthetic
from preprocessing.records.forgotten import Forgotten

SALT = "7f" * 32
SMALL_STEPS: dict[str, list[str]] = {
    "import": ["import", "--source", "item", "--out", "answers/item", "prose.jsonl"],
    "group": ["group", "--config", "scenario.yaml"],
    "prompts": ["prompts", "--config", "scenario.yaml"],
    "link": ["link", "--config", "scenario.yaml"],
    "encode": ["encode", "--config", "scenario.yaml"],
    "examples": ["examples", "--config", "scenario.yaml"],
    "forget": ["forget", "--config", "scenario.yaml", "--user", "3", "--item", "7"],
}
"""Name -> what comes after `python -m preprocessing`; each needs those before it."""


def write_small_scenario(folder: Path) -> None:
    """Writes `scenario.yaml` and all that it reads into a folder, with relative paths.

    User 30 was forgotten before the first step, so that the salt of hashes is that of all copies.
    """
    (folder / "work").mkdir()
    Forgotten(SALT).with_ids(["30"], []).write(folder / "work")
    items = range(1, 41)
    synthetic.write_interactions(folder / "interactions.csv", 1500, 30, 40, seed=3)
    synthetic.write_catalogue(folder / "catalogue.csv", 40)

    def write_answers(
        name: str, source: str, text: Callable[[int], str], extraction: str = "individual"
    ) -> None:
        records = (
            {"source": source, "entity_id": str(item), "extraction": extraction}
            | {"answer": text(item)}
            for item in items
        )
        lines = (json.dumps(record) + "\n" for record in records)
        (folder / name).write_text("".join(lines), encoding="utf-8")

    def named(item: int) -> str:
        return json.dumps({"links": [f"Film number {(item + step) % 40 + 1}" for step in (1, 5)]})

    write_answers("prose.jsonl", "item", lambda item: f"A film of the {item}th street, and dark.")
    write_answers(
        "groups.jsonl", "item", lambda group: f"Films of the {group}th kind.", "collective"
    )
    write_answers("links.jsonl", "links", named)
    tree = {
        "name": "small",
        "work_dir": "work",
        "data": {
            "interactions": {"path": "interactions.csv"},
            "catalogue": {
                "path": "catalogue.csv",
                "attributes": {"genres": {"kind": "categorical", "separator": "|"}},
            },
        },
        "model": {
            "match": "ridge",
            "knowledge_match": {"sources": ["ratings", "links"], "dropout_rate": 0.2},
        },
        "knowledge": {
            "sources": ["item", "links"],
            "answers": {
                "item": {
                    "entity": "item",
                    "individual": ["answers/item/answers.jsonl"],
                    "collective": ["groups.jsonl"],
                    "grouping": {"maximum_size": 10},
                },
                "links": {"entity": "item", "individual": ["links.jsonl"], "links": {}},
                "ratings": {"entity": "item", "collaborative": {"dimension": 8}},
            },
            "encoder": {"kind": "tfidf", "dimension": 16},
        },
        "prompts": {"scenario": "movies"},
    }
    (folder / "scenario.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
