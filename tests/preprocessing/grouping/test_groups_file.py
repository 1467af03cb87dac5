from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command_line import CommandError, RejectedInput
from configs.loading import ConfigurationError
from preprocessing.grouping.groups_file import (
    Membership,
    group_of_entity,
    import_groups,
    open_groups,
    parse_memberships,
)
from tests.preprocessing.answers.small_files import read_lines, write
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


def test_an_object_of_groups_becomes_the_file_that_encode_reads(tmp_path):
    path = write(tmp_path / "g.json.gz", {"10": 36, "9": "g,1", "7": 36})
    result = import_groups(path, "item", tmp_path / "out", strict=True)
    assert (tmp_path / "out" / "groups.csv").read_bytes() == (
        b'item_id,group_id\n10,36\n9,"g,1"\n7,36\n'
    )
    assert (result["read"], result["accepted"], result["rejected"]) == (3, 3, 0)
    assert result["group_ids"] == 2
    assert json.loads((tmp_path / "out" / "groups_summary.json").read_text()) == result
    (block,) = open_groups(result["groups"], "item", "key").read()
    memberships, letters = parse_memberships(block, "item")
    assert group_of_entity(memberships, "f")[0] == {"10": "36", "9": "g,1", "7": "36"}
    assert letters == []


def test_the_place_chooses_from_lists(tmp_path):
    path = write(tmp_path / "g.json", {"1": [16, 91], "2": [79, 47]})
    for place, groups in ((1, "1,16\n2,79\n"), (2, "1,91\n2,47\n")):
        import_groups(path, "user", tmp_path / "out", place=place)
        assert (tmp_path / "out" / "groups.csv").read_text() == f"user_id,group_id\n{groups}"


def test_bad_entries_are_dead_letters(tmp_path):
    path = tmp_path / "g.json"
    path.write_text(
        '{"1": [1, 2], "2": 3, "3": [4], "4": [5, null], "5": [6, 1.5], "6": [7, true], '
        '"": [8, 9], "1": [1, 2], "a\\nb": [1, 2], "8": [1, " "], "9": [1, "\\ud800"]}'
    )
    out = tmp_path / "out"
    with pytest.raises(RejectedInput) as raised:
        import_groups(str(path), "user", out, place=2, strict=True)
    assert raised.value.result["accepted"] == 1 and raised.value.result["rejected"] == 10
    letters = read_lines(out / "groups_dead_letters.jsonl")
    assert [(letter["line"], letter["reason"]) for letter in letters] == [
        (2, "wrong_type"), (3, "missing_field"), (4, "missing_field"), (5, "wrong_type"),
        (6, "wrong_type"), (7, "blank_field"), (8, "duplicate_entity"), (9, "invalid_entity_id"),
        (10, "blank_field"), (11, "invalid_text"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "place", "message"),
    [
        ({"1": [16, 91]}, None, "list of 2 groups; say with --place which of them to take, 1 to 2"),
        ({"1": 16}, 1, "leave --place out"),
        ({"1": [16, 91]}, 3, "--place 3, but '1' has a list of 2 groups; say 1 to 2"),
        ({"1": [16, 91]}, 0, "--place 0"),
    ],
)
def test_a_place_that_does_not_fit_is_explained(tmp_path, document, place, message):
    path = write(tmp_path / "g.json", document)
    with pytest.raises(ConfigurationError, match=message):
        import_groups(path, "user", tmp_path / "out", place=place)
    assert not (tmp_path / "out").exists()


def test_a_number_that_is_no_group_id_is_a_dead_letter(tmp_path):
    path = tmp_path / "g.json"
    path.write_bytes(b'{"1": 7, "2": 1e999, "3": ' + b"1" * 501 + b', "4": "\\ud800"}')
    result = import_groups(str(path), "item", tmp_path / "out")
    assert (result["accepted"], result["rejected_by_reason"]) == (
        1, {"invalid_entity_id": 1, "invalid_text": 1, "wrong_type": 1},
    )  # fmt: skip


def test_nothing_usable_is_a_failure(tmp_path):
    for document, each in (({}, "no entries"), ({"1": None}, "missing_field 1")):
        with pytest.raises(CommandError, match=f"no entry gives an id its group .{each}"):
            import_groups(write(tmp_path / "g.json", document), "item", tmp_path / "out")


def test_ids_of_entities_are_mapped(tmp_path):
    path = write(tmp_path / "groups.json", {"1": 36, "2": 29, "3": 36})
    ids = write(tmp_path / "ids.json", {"1": "tt7", "3": "tt9"})
    result = import_groups(path, "item", tmp_path / "out", ids=ids)
    assert (tmp_path / "out" / "groups.csv").read_text() == "item_id,group_id\ntt7,36\ntt9,36\n"
    assert (result["read"], result["accepted"], result["rejected"]) == (3, 2, 1)
    assert result["rejected_by_reason"] == {"unknown_id": 1}
    assert result["ids"]["ids_met"] == 2
