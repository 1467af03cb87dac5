from __future__ import annotations

from dataclasses import replace

import numpy as np

from serving.refresh.knowledge import (
    COLLECTIVE,
    INDIVIDUAL,
    NO_ANSWER,
    NO_GROUP,
    KnownEntities,
    NewVectors,
    change_source,
    digests_of,
    rows_of_groups,
)

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
