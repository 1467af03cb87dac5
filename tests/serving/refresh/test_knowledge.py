from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from preprocessing.answers.record import Place
from serving.refresh.checkpoint import StoredVariables
from serving.refresh.description import RefreshFolder
from serving.refresh.incoming import Entry, Records
from serving.refresh.knowledge import (
    COLLECTIVE,
    INDIVIDUAL,
    NO_GROUP,
    KnownEntities,
    VersionKnowledge,
)
from tests.serving.refresh.descriptions import description, source


def entities() -> KnownEntities:
    """One with an answer of its own and the group "g", one with the answer of the group "h"."""
    return KnownEntities(
        rows=np.array([0, 1, 2], np.int32),
        origins=np.array([0, INDIVIDUAL, COLLECTIVE], np.uint8),
        groups=np.array([NO_GROUP, 0, 1], np.int32),
        group_ids=np.array(["g", "h"]),
        digests=np.arange(3),
    )


def version(tmp_path: Path) -> VersionKnowledge:
    tf.saved_model.save(tf.Module(), str(tmp_path))
    described = description(
        item=source(), item_genre=source(factor="genre"), user=source(entity="user")
    )
    known = {name: entities() for name in described.sources}
    return VersionKnowledge(
        RefreshFolder(tmp_path), described, StoredVariables(tmp_path), {}, known
    )


def entry(line: int, of_source: str, entity_id: str, collective: bool = False) -> Entry:
    return Entry(Place("a.jsonl", line), of_source, collective, entity_id, text="a text")


def test_of_several_records_about_one_entity_the_first_counts_in_each_source(
    tmp_path: Path,
) -> None:
    entries = [
        entry(1, "item", "7"),
        entry(1, "item_genre", "7"),
        # A record may name the source of a factor itself.
        entry(2, "item_genre", "7"),
        entry(3, "user", "7"),
        entry(4, "item", "g", collective=True),
        entry(5, "item", "g"),
        entry(6, "item", "g", collective=True),
        entry(7, "item", "other", collective=True),
    ]
    records = Records([each.place for each in entries], entries)
    usable = version(tmp_path).usable(records)
    assert usable == {
        "item": [entries[0], entries[4], entries[5]],
        "item_genre": [entries[1]],
        "user": [entries[3]],
    }
    assert {place.line: reason for place, (reason, _) in records.rejections.items()} == {
        2: "duplicate_entity",
        6: "duplicate_entity",
        7: "unknown_group",
    }
    assert records.rejections[entries[2].place][1] == "same entity as record 1 of a.jsonl"


def test_answers_about_groups_that_nobody_reads_are_counted(tmp_path: Path) -> None:
    entries = [
        entry(1, "item", "g", collective=True),
        entry(2, "item", "h", collective=True),
        entry(3, "item", "g"),
    ]
    assert version(tmp_path).unread_groups(entries) == 1
