from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.loading import ConfigurationError
from preprocessing.grouping.groups_file import (
    Membership,
    group_of_entity,
    open_groups,
    parse_memberships,
)
from tests.preprocessing.tables.tables_on_disk import csv_block


def test_rows_are_parsed_whatever_the_order_of_columns():
    block = csv_block(["group_id", "note", "item_id"], b"g1,x,10\ng2,x,\n,x,9\ng1,x,7\nbad\n")
    memberships, dead_letters = parse_memberships(block, "item")
    assert memberships == [Membership("10", 2, "g1"), Membership("7", 5, "g1")]
    assert sorted((letter["line"], letter["reason"]) for letter in dead_letters) == [
        (3, "missing_item_id"),
        (4, "missing_group_id"),
        (6, "wrong_column_count"),
    ]
    assert block.records == 5


def test_the_first_line_of_an_entity_counts():
    memberships = [Membership("a", 9, "g2"), Membership("b", 3, "g1"), Membership("a", 4, "g1")]
    groups, dead_letters = group_of_entity(memberships, "groups.csv")
    assert groups == {"a": "g1", "b": "g1"}
    assert [(letter["line"], letter["reason"]) for letter in dead_letters] == [
        (9, "duplicate_entity")
    ]


def test_groups_may_be_parquet(tmp_path):
    path = tmp_path / "groups.parquet"
    pq.write_table(pa.table({"user_id": [7, 8], "group_id": [1, 2]}), path)
    (block,) = open_groups(str(path), "user", "key").read()
    assert parse_memberships(block, "user")[0] == [Membership("7", 1, "1"), Membership("8", 2, "2")]


def test_groups_are_one_file_with_two_columns(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("user_id,group_id\n")
    assert open_groups(str(tmp_path / "a.csv"), "user", "key").columns == ("user_id", "group_id")
    with pytest.raises(ConfigurationError, match="key: .* means 2 files"):
        open_groups(str(tmp_path / "*.csv"), "user", "key")
    with pytest.raises(ConfigurationError, match=r"key \(item_id\): .*no column 'item_id'"):
        open_groups(str(tmp_path / "a.csv"), "item", "key")


def test_an_object_of_groups_is_sent_to_the_command_that_converts_it(tmp_path):
    path = tmp_path / "item_id2group.json"
    path.write_text('{"1": 36, "2": 29}')
    with pytest.raises(ConfigurationError, match="import --groups .*2group.json --entity item"):
        open_groups(str(path), "item", "key")
    path.write_text('{"item_id": "1", "group_id": "36"}\n')
    assert open_groups(str(path), "item", "key").columns == ("item_id", "group_id")
