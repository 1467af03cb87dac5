from __future__ import annotations

from preprocessing.csv_blocks import CsvBlock
from preprocessing.knowledge.groups import Membership, group_of_entity, parse_memberships


def test_rows_are_parsed_whatever_the_order_of_columns():
    block = CsvBlock("groups.csv", 2, b"g1,x,10\ng2,x,\n,x,9\ng1,x,7\n")
    memberships, dead_letters, records = parse_memberships(
        block, ["group_id", "note", "item_id"], "item"
    )
    assert memberships == [Membership("10", 2, "g1"), Membership("7", 5, "g1")]
    assert sorted((letter["line"], letter["reason"]) for letter in dead_letters) == [
        (3, "missing_item_id"),
        (4, "missing_group_id"),
    ]
    assert records == 4


def test_the_first_line_of_an_entity_counts():
    memberships = [Membership("a", 9, "g2"), Membership("b", 3, "g1"), Membership("a", 4, "g1")]
    groups, dead_letters = group_of_entity(memberships, "groups.csv")
    assert groups == {"a": "g1", "b": "g1"}
    assert [(letter["line"], letter["reason"]) for letter in dead_letters] == [
        (9, "duplicate_entity")
    ]
