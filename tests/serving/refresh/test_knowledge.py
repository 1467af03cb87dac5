from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from preprocessing.answers.record import Location
from preprocessing.records.knowledge import KnowledgeVectors
from serving.refresh.incoming import Entry, IncomingRecords
from serving.refresh.knowledge import (
    COLLECTIVE,
    INDIVIDUAL,
    NO_ANSWER,
    NO_GROUP,
    KnownEntities,
    NewVectors,
    VersionKnowledge,
    change_source,
    coverage,
    digests_of,
    read_entities,
    rows_of_groups,
)
from serving.refresh.version import RefreshFolder, StoredVariables
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


def entry(line: int, source: str, entity_id: str, collective: bool = False) -> Entry:
    return Entry(Location("a.jsonl", line), source, collective, entity_id, text="a text")


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
    records = IncomingRecords([each.location for each in entries], entries)
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
    assert records.rejections[entries[2].location][1] == "same entity as record 1 of a.jsonl"


def test_answers_about_groups_that_nobody_reads_are_counted(tmp_path: Path) -> None:
    entries = [
        entry(1, "item", "g", collective=True),
        entry(2, "item", "h", collective=True),
        entry(3, "item", "g"),
    ]
    assert version(tmp_path).unread_groups(entries) == 1


# Five entities behind row 0: two with answers of their own, two of group "a", one with nothing.
_VECTORS = np.array([[1, 0], [2, 0], [3, 0]], np.float16)


def known() -> KnownEntities:
    return KnownEntities(
        rows=np.array([0, 1, 2, 3, 3, 0], np.int32),
        origins=np.array(
            [NO_ANSWER, INDIVIDUAL, INDIVIDUAL, COLLECTIVE, COLLECTIVE, NO_ANSWER], np.uint8
        ),
        groups=np.array([NO_GROUP, NO_GROUP, 1, 0, 0, NO_GROUP], np.int32),
        group_ids=np.array(["a", "b"]),
        digests=np.concatenate([[0], digests_of(_VECTORS)]),
    )


def new(entities: dict[int, list[float]], groups: dict[int, list[float]]) -> NewVectors:
    def vectors(found: dict[int, list[float]]) -> np.ndarray:
        return np.array(list(found.values()), np.float16).reshape(-1, 2)

    return NewVectors(
        np.array(list(entities), np.int64),
        vectors(entities),
        np.array(list(groups), np.int64),
        vectors(groups),
    )


def test_an_answer_of_a_known_entity_changes_its_row() -> None:
    change = change_source(known(), new({2: [9, 9]}, {}))
    assert change.rows.tolist() == [2]
    assert change.vectors.tolist() == [[9, 9]]
    assert change.affected.tolist() == [2]
    np.testing.assert_array_equal(change.entities.rows, known().rows)


def test_a_member_of_a_group_and_somebody_unknown_get_rows_of_their_own() -> None:
    change = change_source(known(), new({4: [8, 8], 5: [7, 7]}, {}))
    assert change.rows.tolist() == [4, 5]
    assert change.entities.rows.tolist() == [0, 1, 2, 3, 4, 5]
    assert change.entities.origins.tolist()[4:] == [INDIVIDUAL, INDIVIDUAL]
    assert change.entities.num_knowledge_rows == 6
    assert change.affected.tolist() == [4, 5]
    assert change.vectors_of_affected().tolist() == [[8, 8], [7, 7]]


def test_an_answer_about_a_group_reaches_members_without_one_of_their_own() -> None:
    change = change_source(known(), new({3: [8, 8]}, {0: [6, 6]}))
    assert change.rows.tolist() == [3, 4]
    assert change.affected.tolist() == [3, 4]
    assert change.vectors_of_affected().tolist() == [[8, 8], [6, 6]]


def test_what_is_known_already_changes_nothing() -> None:
    change = change_source(known(), new({1: [1, 0]}, {0: [3, 0]}))
    assert change.rows.tolist() == change.affected.tolist() == []
    np.testing.assert_array_equal(change.entities.digests, known().digests)


def test_a_group_that_nobody_reads_changes_nothing() -> None:
    assert change_source(known(), new({}, {1: [6, 6]})).rows.tolist() == []


def test_a_collective_answer_of_no_group_is_no_answer_of_a_group() -> None:
    entities = known()
    # The last entity shares its answer with nobody.
    entities.rows[5], entities.origins[5] = 1, COLLECTIVE
    assert rows_of_groups(entities).tolist() == [3, 0]
    change = change_source(entities, new({}, {0: [6, 6]}))
    assert (change.rows.tolist(), change.affected.tolist()) == ([3], [3, 4])
    without_groups = replace(entities, group_ids=entities.group_ids[:0])
    without_groups.groups[:] = NO_GROUP
    assert rows_of_groups(without_groups).tolist() == []


def test_the_answer_of_the_group_as_ones_own_is_a_row_of_its_own() -> None:
    change = change_source(known(), new({3: [3, 0]}, {}))
    assert change.rows.tolist() == [4]
    assert change.entities.rows.tolist()[3:5] == [4, 3]


_RECORDS = KnowledgeVectors(
    entity_ids=["p", "q", "r", "s"],
    vectors=np.array([[1, 1], [2, 2], [2, 2], [3, 3]], np.float32),
    extraction=["individual", "collective", "collective", "individual"],
    group_ids=["", "second", "second", "first"],
)


def arranged() -> KnownEntities:
    return KnownEntities.of_records(_RECORDS, {"s": 1, "p": 2, "q": 3, "r": 5}, 6)


def test_records_are_arranged_by_row() -> None:
    entities = arranged()
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
    arranged().write(tmp_path)
    actual = read_entities(tmp_path)
    for name, value in vars(arranged()).items():
        np.testing.assert_array_equal(getattr(actual, name), value)


def test_further_entities_know_nothing() -> None:
    more = arranged().with_entities(2)
    assert more.rows.tolist() == [*arranged().rows, 0, 0]
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


def of_origins(*origins: int) -> KnownEntities:
    nothing = np.zeros(0)
    return KnownEntities(nothing, np.array([NO_ANSWER, *origins]), nothing, nothing, nothing)


def test_the_best_answer_of_any_source_counts() -> None:
    first = of_origins(INDIVIDUAL, COLLECTIVE, NO_ANSWER, COLLECTIVE)
    second = of_origins(NO_ANSWER, INDIVIDUAL, NO_ANSWER, COLLECTIVE)
    assert coverage([first, second], 4) == {"individual": 2, "group": 1, "missing": 1}
    assert coverage([], 4) == {"individual": 0, "group": 0, "missing": 4}


def test_who_is_forgotten_is_not_missing() -> None:
    full = known()
    assert coverage([full], 5) == {"individual": 2, "group": 2, "missing": 1}
    forgotten, _ = full.without(np.array([1, 3, 5]))
    assert coverage([forgotten], 5) == {"individual": 1, "group": 1, "missing": 0}
    assert coverage([forgotten.with_entities(1)], 6)["missing"] == 1


def test_items_of_a_retrieval_model_cannot_be_forgotten(tmp_path: Path) -> None:
    known = version(tmp_path)
    known.description = known.description.model_copy(update={"is_retrieval": True})
    with pytest.raises(CommandError, match="export a run that was trained without them"):
        known.forget({"item": ["7"]})


def test_forgetting_clears_what_somebody_had_before_an_answer_of_their_own() -> None:
    change = change_source(known(), new({3: [7, 7], 4: [8, 8]}, {}))
    assert change.entities.rows.tolist() == [0, 1, 2, 4, 5, 0]
    cleared, vacated = change.entities.without(np.array([3]))
    # Row 3 was that of both members of group "a", and nobody has it any more.
    assert vacated.tolist() == [3, 4]
    assert cleared.digests[[3, 4]].tolist() == [0, 0] and (cleared.digests[[1, 2, 5]] != 0).all()
    _, vacated = known().without(np.array([3]))
    assert vacated.tolist() == []
