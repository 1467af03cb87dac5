from __future__ import annotations

import pytest

from configs.data import Profiles
from configs.loading import ConfigurationError
from preprocessing.interactions.catalogue import (
    collect_profiles,
    open_profiles,
    parse_profiles,
    profiles_schema,
)
from tests.preprocessing.tables.tables_on_disk import csv_block

PROFILES = Profiles.model_validate(
    {
        "path": "users.csv",
        "user": "id",
        "attributes": {
            "gender": {"kind": "categorical", "values": {"F": "female", "M": "male"}},
            "age": {"kind": "numeric"},
            "hobbies": {"kind": "categorical", "separator": ";"},
        },
    }
)
HEADER = ["id", "gender", "age", "hobbies", "zip"]


def parse(first_line: int, data: bytes):
    block = csv_block(HEADER, data, first_line, "users.csv")
    table, letters = parse_profiles(block, PROFILES)
    assert table.schema == profiles_schema(PROFILES)
    assert block.records == len(table) + len(letters)
    return table, letters


def test_profiles_are_read_and_the_first_row_of_a_user_counts():
    second, letters = parse(5, b"ann,M,,,\n,F,1,,\nbad\n")
    assert [(letter["line"], letter["reason"]) for letter in letters] == [
        (7, "wrong_column_count"),
        (6, "missing_user_id"),
    ]
    first, _ = parse(2, b"ann,F,30,chess;go,1\nbob,,old,,2\neve,x,41.5,go,3\n")
    profiles = collect_profiles([second, first], PROFILES, ["users.csv"])
    assert profiles.table.drop_columns(["@file", "@line"]).to_pylist() == [
        {"user": "ann", "gender": ["female"], "age": 30.0, "hobbies": ["chess", "go"]},
        {"user": "bob", "gender": [], "age": None, "hobbies": []},
        {"user": "eve", "gender": ["x"], "age": 41.5, "hobbies": ["go"]},
    ]
    assert profiles.unreadable_numbers == {"age": 1}
    assert [(letter["line"], letter["reason"]) for letter in profiles.dead_letters] == [
        (5, "duplicate_user")
    ]
    assert "ann" not in str(profiles.dead_letters)


def test_no_profiles():
    profiles = collect_profiles([], PROFILES, ["users.csv"])
    assert profiles.table.schema == profiles_schema(PROFILES) and len(profiles.table) == 0


def test_columns_and_names_are_checked(tmp_path):
    path = tmp_path / "users.csv"
    path.write_text("id,gender\n1,F\n")

    def opened(**settings):
        return open_profiles(Profiles.model_validate({"path": str(path), **settings}))

    assert opened(user="id").columns == ("id",)
    with pytest.raises(ConfigurationError, match="data.profiles.user: .*no column 'user_id'"):
        opened()
    with pytest.raises(ConfigurationError, match="attributes.age.column: .*no column 'age'"):
        opened(user="id", attributes={"age": {"kind": "numeric"}})
    with pytest.raises(ConfigurationError, match="data.profiles.attributes: 'user' is taken"):
        opened(user="id", attributes={"user": {"kind": "categorical", "column": "gender"}})
    with pytest.raises(ConfigurationError, match="the name 'a/b' becomes a file name"):
        opened(user="id", attributes={"a/b": {"kind": "categorical", "column": "gender"}})
