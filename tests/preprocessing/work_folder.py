"""A small work directory as the steps write it, how to damage and to validate it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs.files import file_sha256
from configs.loading import scenario_from_tree
from preprocessing.__main__ import main
from preprocessing.examples import build_examples
from preprocessing.records import contract
from preprocessing.records.layout import KnowledgeDirectory, shard_name
from preprocessing.records.tfrecord_file import read_records, write_records
from preprocessing.records.wire import (
    BytesColumn,
    FloatSequence,
    RaggedFloatColumn,
    encode_examples,
)
from preprocessing.steps import Step

USERS, ITEMS, PER_USER = 12, 30, 14


def interactions() -> str:
    """Every user rates 14 of 30 items, one an hour, later users later; one line is repeated."""
    lines = ["user_id,item_id,rating,timestamp"]
    for user in range(USERS):
        for place in range(PER_USER):
            item = (user * 7 + place * 11) % ITEMS
            rating = 1 + (user + 3 * place) % 5
            lines.append(f"u{user},i{item},{rating},{3600 * place + 9000 * user}")
    return "\n".join([*lines, lines[1]]) + "\n"


def catalogue() -> str:
    lines = [
        f"i{item},Title {item},{'Drama|Comedy' if item % 2 else 'Drama'}" for item in range(40)
    ]
    return "\n".join(["item_id,title,genres", *lines]) + "\n"


def write_examples(folder: Path, split_by: str = "time", **data: object) -> Path:
    """Runs the step `examples` on these data, all kinds; returns the work directory."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "interactions.csv").write_text(interactions())
    (folder / "catalogue.csv").write_text(catalogue())
    answers = folder / "answers.jsonl"
    answers.touch()
    tree: dict[str, Any] = {
        "name": "small",
        "work_dir": str(folder / "work"),
        "data": {
            "interactions": {"path": str(folder / "interactions.csv")},
            "catalogue": {
                "path": str(folder / "catalogue.csv"),
                "attributes": {"genres": {"kind": "categorical", "separator": "|"}},
            },
            "history_length": 5,
            "examples": ["ctr", "rerank", "retrieval"],
            **data,
        },
        "split": {"by": split_by, "knowledge_history_cap": 3},
        "knowledge": {
            "sources": ["item"],
            "answers": {
                # Of groups, which may show users' interactions: so history is held back.
                "item": {
                    "entity": "item",
                    "collective": [str(answers)],
                    "groups": "groups.csv",
                    "groups_verified": True,
                }
            },
        },
    }
    build_examples(scenario_from_tree(tree))
    return folder / "work"


Vector = tuple[str, list[float], str]
VECTORS: list[Vector] = [
    ("i1", [0.5, -1.0, 0.25], "individual"),
    ("i2", [1.5, 0.0, 0.25], "individual"),
    ("i3", [0.5, 2.0, -0.75], "collective"),
]
MORE_VECTORS: list[Vector] = [
    *VECTORS,
    *((f"i{item}", [0.5, 1.0, 1.0], "collective") for item in range(4, 24)),
]
"""So many that most samples have one."""


def write_knowledge_step(work: Path, vectors: list[Vector] = VECTORS) -> Path:
    """Writes vectors of the source `item` as the step `encode` does; returns its folder."""
    directory = KnowledgeDirectory(work / "knowledge" / "item")

    def build(folder: Path) -> dict[str, object]:
        sizes = np.array([len(vector) for _, vector, _ in vectors])
        ends = np.cumsum(sizes)
        numbers = np.array([value for _, vector, _ in vectors for value in vector], np.float16)
        records = encode_examples(
            {
                contract.ENTITY_ID: BytesColumn([entity.encode() for entity, _, _ in vectors]),
                contract.VECTOR: RaggedFloatColumn(FloatSequence(numbers), ends - sizes, ends),
                contract.EXTRACTION: BytesColumn([name.encode() for _, _, name in vectors]),
                contract.GROUP_ID: BytesColumn([b""] * len(vectors)),
            }
        )
        count = write_records(folder / shard_name(0, 1), records)
        (folder / "dead_letters.jsonl").write_text("")
        extractions = [extraction for _, _, extraction in vectors]
        return {
            "counts": {
                "records_in": count,
                "records_out": count,
                "dead_letters": 0,
                "rejected_by_reason": {},
                "knowledge_records": count,
                "individual_entities": extractions.count("individual"),
                "collective_entities": extractions.count("collective"),
            },
            "settings": {"knowledge.answers.item.entity": "item"},
            "encoder": {"kind": "toy", "dimension": 3},
            "shards": [{"shard": 0, "records": count}],
        }

    directory.path.parent.mkdir(parents=True, exist_ok=True)
    Step(
        name="encode item",
        directory=directory,
        settings={},
        inputs={"answers.jsonl": ""},
        build=build,
        report=lambda run: {},
    ).run()
    return directory.path


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def reseal(folder: Path) -> None:
    """Writes the present sizes and checksums into the manifest."""
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": file_sha256(path),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    edit_manifest(folder, lambda manifest: manifest.update(files=files))


def rewrite_records(path: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    write_records(path, change(list(read_records(path))))


def largest_shard(folder: Path) -> Path:
    """The TFRecord file of a folder with the most records."""
    shards = sorted(folder.glob("part-*.tfrecord.gz"))
    return max(shards, key=lambda path: sum(1 for _ in read_records(path)))


def validate(capsys, *arguments: object) -> tuple[int, dict, str]:
    """Exit code, result and what was said on standard error."""
    code = main(["validate", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def checks(result: dict) -> set[str]:
    """The checks that found something."""
    assert sum(result["by_check"].values()) == result["errors"] + result["warnings"]
    return set(result["by_check"])
