"""Every step of preprocessing on a log of 1,500 interactions, one command each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

import preprocessing.__main__
from examples.synthetic import SyntheticLog
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
    log = SyntheticLog(1500, users=30, items=40, seed=3)
    log.write_interactions(folder / "interactions.csv")
    log.write_catalogue(folder / "catalogue.csv")
    log.write_answers(folder / "prose.jsonl")
    log.write_links(folder / "links.jsonl")
    about_group = {"source": "item", "entity_id": "1", "extraction": "collective"}
    answer = json.dumps(about_group | {"answer": "Films of the first kind."})
    (folder / "groups.jsonl").write_text(f"{answer}\n", encoding="utf-8")
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


def folders_before_steps(
    folder: Path, steps: Mapping[str, list[str]], change: Callable[[Path], None] | None = None
) -> dict[str, Path]:
    """Runs steps one after the other.

    Args:
      folder: takes the copies, and `state`, which is the folder after the last step.
      steps: name -> what comes after `python -m preprocessing`.
      change: of the inputs, before the first step.

    Returns:
      Name -> a copy of the folder as it was before the step.
    """
    state = folder / "state"
    state.mkdir()
    write_small_scenario(state)
    if change is not None:
        change(state)
    before = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(state)
        for step, words in steps.items():
            before[step] = Path(shutil.copytree(state, folder / step))
            assert preprocessing.__main__.main(words) == 0
    return before
