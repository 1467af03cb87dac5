"""A small scenario's input files, how to write answers, and the dead letters they leave."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.answers.small_files import record

INTERACTIONS = """\
user_id,item_id,rating,timestamp
bob,10,4.0,100
bob,9,2.5,100
bob,100,5,90
bob,10,3,300
eve,9,1,50
ann,7,4.5,10
ann,9,3.5,11
ann,10,4,12
ann,100,2,13
ann,7,1,14
ann,5,5,14
ann,12,4,15
ann,11,0.5,16
ann,9,4,17
ann,3,3,18
ann,8,2,19
ann,10,5,20
bob,9,4,100
"""
"""Ties within a user (bob at 100, ann at 14), a repetition (last line), a single one (eve)."""

CATALOGUE = """\
item_id,title,genres,year
10,Ten,Drama|Comedy,1999
9,"Nine, the film",Drama,
7,Seven,(no genres listed),abc
200,Nobody saw it,Comedy|Drama|Comedy,2001.5
100,Hundred,,1950
"""

ANSWERS = [
    record("10", "a quiet family drama"),
    {"source": "item", "entity_id": "9", "extraction": "individual", "answer": "loud space battle"},
    {"source": "item", "entity_id": "7", "extraction": "individual", "answer": "a family comedy"},
]
GROUP_ANSWERS = [
    record("g1", "quiet drama in space", extraction="collective"),
    record("g9", "nobody asked for it", extraction="collective"),
]
GROUPS = "item_id,group_id\n10,g1\n100,g1\n200,g2\n5,g1\n"


def write_lines(path: Path, records: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def write_small_inputs(folder: Path) -> None:
    """Writes the log, the catalogue, groups and answers."""
    for name, text in [
        ("interactions.csv", INTERACTIONS), ("catalogue.csv", CATALOGUE), ("groups.csv", GROUPS),
    ]:  # fmt: skip
        (folder / name).write_text(text, encoding="utf-8")
    write_lines(folder / "answers.jsonl", ANSWERS)
    write_lines(folder / "group_answers.jsonl", GROUP_ANSWERS)


def small_scenario_tree(folder: Path) -> dict[str, object]:
    """The scenario on the inputs in a folder, as a YAML file would hold it."""
    return {
        "name": "small",
        "work_dir": str(folder / "work"),
        "data": {
            "interactions": {"path": str(folder / "interactions.csv")},
            "catalogue": {
                "path": str(folder / "catalogue.csv"),
                "attributes": {
                    "genres": {"kind": "categorical", "separator": "|"},
                    "year": {"kind": "numeric"},
                },
            },
            "history_length": 3,
        },
        "split": {"knowledge_history_cap": 2},
        "knowledge": {
            "sources": ["item"],
            "answers": {
                "item": {
                    "entity": "item",
                    "individual": [str(folder / "answers.jsonl")],
                    "collective": [str(folder / "group_answers.jsonl")],
                    "groups": str(folder / "groups.csv"),
                }
            },
            "encoder": {"kind": "tfidf", "dimension": 3},
        },
    }


SHOWN = {
    "ann": ["Seven, 4.5", "Nine, the film, 3.5", "Ten, 4", "Hundred, 2"],
    "bob": ["Hundred, 5", "Nine, the film, 2.5", "Ten, 4", "Ten, 3"],
    "eve": ["Nine, the film, 1"],
}
"""What prompts show of the first interactions: of ann's, the fifth one has no title."""


def user_answer(user: str, *shown: int) -> dict[str, str]:
    """An answer whose prompt showed these interactions, each with " stars;" once.

    Args:
      user: a user of INTERACTIONS, or of another log.
      shown: places in the user's log; of another user, any number.
    """
    entries = SHOWN.get(user, [f"film {place}, 4" for place in shown])
    prompt = "history: " + "".join(f"{entries[place]} stars; " for place in shown)
    return record(user, "likes films", source="user", prompt=prompt)


def user_source(folder: Path, pattern: str | None) -> dict[str, object]:
    """A source of user answers; the pattern finds one interaction in its prompts."""
    source: dict[str, object] = {"entity": "user", "individual": [str(folder / "users.jsonl")]}
    return source if pattern is None else {**source, "history_entry_pattern": pattern}


def letters_of(scenario, source: str = "item") -> list[tuple[str, int, str]]:
    """File name, line and reason of each dead letter of a source, in the order of the file."""
    path = WorkDirectory(scenario.work_dir).knowledge(source).dead_letters
    letters = [json.loads(line) for line in path.read_text().splitlines()]
    return [(Path(entry["file"]).name, entry["line"], entry["reason"]) for entry in letters]


def bucket_of(text: str, purpose: str, buckets: int) -> int:
    """The shard or fold of an id, as the format of the records defines it."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=purpose.encode()).digest()
    return int.from_bytes(digest, "little") % buckets
