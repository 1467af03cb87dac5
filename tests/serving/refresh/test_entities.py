from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from preprocessing.records.knowledge import KnowledgeVectors
from serving.refresh.knowledge import (
    COLLECTIVE,
    INDIVIDUAL,
    NO_ANSWER,
    NO_GROUP,
    KnownEntities,
    digests_of,
    read_entities,
)

_RECORDS = KnowledgeVectors(
    entity_ids=["p", "q", "r", "s"],
    vectors=np.array([[1, 1], [2, 2], [2, 2], [3, 3]], np.float32),
    extraction=["individual", "collective", "collective", "individual"],
    group_ids=["", "second", "second", "first"],
)


def known() -> KnownEntities:
    return KnownEntities.of_records(_RECORDS, {"s": 1, "p": 2, "q": 3, "r": 5}, 6)


def test_records_are_arranged_by_row() -> None:
    entities = known()
    # Rows of answers follow the records: p 1, the group 2, s 3.
    assert entities.rows.tolist() == [0, 3, 1, 2, 0, 2]
    assert entities.origins.tolist() == [
        NO_ANSWER,
        INDIVIDUAL,
        INDIVIDUAL,
        COLLECTIVE,
        NO_ANSWER,
        COLLECTIVE,
    ]
    assert entities.group_ids.tolist() == ["first", "second"]
    assert entities.groups.tolist() == [NO_GROUP, 0, NO_GROUP, 1, NO_GROUP, 1]
    assert entities.digests.tolist() == [0, *digests_of(_RECORDS.vectors[[0, 1, 3]]).tolist()]


def test_files_hold_everything(tmp_path: Path) -> None:
    known().write(tmp_path)
    found = read_entities(tmp_path)
    for name, value in vars(known()).items():
        np.testing.assert_array_equal(getattr(found, name), value)


def test_further_entities_know_nothing() -> None:
    more = known().with_entities(2)
    assert more.rows.tolist() == [*known().rows, 0, 0]
    assert more.origins.tolist()[-2:] == [NO_ANSWER, NO_ANSWER]
    assert more.groups.tolist()[-2:] == [NO_GROUP, NO_GROUP]


def test_digests_are_of_float16() -> None:
    vectors = np.array([[0.1, 0.2], [0.1, 0.20001], [0.1, 0.21]])
    first, rounded_alike, other = digests_of(vectors)
    assert first == rounded_alike != other


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "entities.npz").write_bytes(b"nothing")
    with pytest.raises(CommandError, match=r"entities\.npz cannot be read.*export again"):
        read_entities(tmp_path)
