from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from configs.data import Attribute, CatalogueTable, Profiles
from configs.loading import ConfigurationError
from preprocessing.interactions.catalogue import (
    ProfileColumns,
    attribute_columns,
    attribute_types,
    attributes_table,
    catalogue_columns,
    catalogue_schema,
    collect_items,
    collect_profiles,
    open_catalogue,
    open_profiles,
    parse_attribute,
    parse_catalogue,
    parse_profiles,
    profiles_schema,
    take_out_unreadable,
)
from preprocessing.records.item_tables import FIXED_COLUMNS
from preprocessing.records.wire import encode_examples
from tests.example_records import values_of
from tests.preprocessing.tables.tables_on_disk import csv_block, typed_block

CATALOGUE = CatalogueTable.model_validate(
    {
        "path": "films.csv",
        "item": "id",
        "title": "name",
        "attributes": {
            "kinds": {"kind": "categorical", "column": "genres", "separator": "|"},
            "language": {"kind": "categorical"},
            "year": {"kind": "numeric"},
        },
    }
)
HEADER = ["year", "id", "name", "genres", "language"]


def parse(first_line: int, data: bytes):
    block = csv_block(HEADER, data, first_line, "films.csv")
    table, letters = parse_catalogue(block, CATALOGUE)
    assert block.records == len(table) + len(letters)
    return table, letters


def test_mapped_columns_by_their_keys():
    assert catalogue_columns(CATALOGUE) == {
        "data.catalogue.item": "id",
        "data.catalogue.title": "name",
        "data.catalogue.attributes.kinds.column": "genres",
        "data.catalogue.attributes.language.column": "language",
        "data.catalogue.attributes.year.column": "year",
    }


def test_values_are_split_and_the_first_row_of_an_item_counts():
    later, dead_letters = parse(5, b"1,a,Again,,\n2,,No id,,\n")
    assert [(entry["line"], entry["reason"]) for entry in dead_letters] == [(6, "missing_item_id")]
    first, _ = parse(2, b" 1999 ,a,A film,x | y||x,en|fr\ninf,b,B,,\nold,c,C,z,\n")
    items = collect_items([later, first], CATALOGUE, ["films.csv"])
    assert [(entry["line"], entry["reason"]) for entry in items.dead_letters] == [
        (5, "duplicate_item")
    ]
    assert items.unreadable_numbers == {"year": 2}
    assert items.ids == ["a", "b", "c"]
    table = attributes_table(
        items, ["a", "b", "c", "new"], CATALOGUE, np.zeros((4, 10)), np.zeros((4, 10), np.int64)
    )
    assert table["title"].to_pylist() == ["A film", "B", "C", ""]
    assert table["kinds"].to_pylist() == [["x", "y"], [], ["z"], []]
    assert table["language"].to_pylist() == [["en|fr"], [], [], []]
    assert table["year"].to_pylist() == [1999.0, None, None, None]


def test_statistics_belong_to_their_items():
    items = collect_items([parse(2, b",b,B,,\n,a,A,,\n")[0]], CATALOGUE, ["films.csv"])
    sums, counts = np.arange(20.0).reshape(2, 10), np.arange(20).reshape(2, 10)
    table = attributes_table(items, ["a", "b"], CATALOGUE, sums, counts)
    for name, each in FIXED_COLUMNS.items():
        assert table.schema.field(name).type == each
    assert table["title"].to_pylist() == ["A", "B"]
    assert table["rating_sum"].to_pylist() == [45.0, 145.0]
    assert table["rating_count"].to_pylist() == [45, 145]
    assert table["rating_count_by_fold"].to_pylist() == counts.tolist()
    assert table["rating_sum_by_fold"].to_pylist() == sums.tolist()


def test_an_empty_catalogue():
    items = collect_items([], CATALOGUE, ["films.csv"])
    assert items.ids == [] and items.unreadable_numbers == {"year": 0}
    table = attributes_table(
        items, ["x"], CATALOGUE, np.zeros((1, 10)), np.zeros((1, 10), np.int64)
    )
    assert table.select(["item_id", "title", "kinds", "year"]).to_pylist() == [
        {"item_id": "x", "title": "", "kinds": [], "year": None}
    ]


def test_typed_columns():
    block = typed_block(
        pa.table(
            {
                "id": pa.array([7, 8]),
                "name": ["Seven", None],
                "genres": [["x", "y"], None],
                "language": pa.array(["en", "fr"]).dictionary_encode(),
                "year": pa.array([1999, None]),
            }
        )
    )
    table, letters = parse_catalogue(block, CATALOGUE)
    assert letters == [] and table.schema == catalogue_schema(CATALOGUE)
    assert table.drop_columns(["@file", "@line"]).to_pylist() == [
        {"item_id": "7", "title": "Seven", "kinds": ["x", "y"], "language": ["en"], "year": 1999.0},
        {"item_id": "8", "title": "", "kinds": [], "language": ["fr"], "year": None},
    ]


def test_names_of_attributes_and_columns_are_checked(tmp_path):
    path = tmp_path / "films.csv"
    path.write_text("id,name,genres\n")
    catalogue = {"path": str(path), "item": "id", "title": "name"}

    def opened(**attributes):
        return open_catalogue(CatalogueTable.model_validate(catalogue | {"attributes": attributes}))

    assert opened(genres={"kind": "categorical"}).columns == ("id", "name", "genres")

    with pytest.raises(ConfigurationError, match=r"attributes.x.flags\[1\]: .*no column 'War'"):
        opened(x={"kind": "categorical", "flags": ["genres", "War"]})


def parse_values(stored: list, kind: str = "categorical", **settings):
    attribute = Attribute(kind=kind, column="x", **settings)
    return parse_attribute(pa.table({"x": pa.array(stored)}), "name", attribute).to_pylist()


def test_columns_and_types_by_attribute():
    attributes = {
        "plain": Attribute(kind="numeric"),
        "renamed": Attribute(kind="categorical", column="other"),
        "genres": Attribute(kind="categorical", flags=("War", "Drama")),
    }
    assert attribute_columns(attributes, "data.x") == {
        "data.x.plain.column": "plain",
        "data.x.renamed.column": "other",
        "data.x.genres.flags[0]": "War",
        "data.x.genres.flags[1]": "Drama",
    }
    texts = pa.list_(pa.string())
    assert attribute_types(attributes) == {
        "plain": pa.float64(),
        "renamed": texts,
        "genres": texts,
    }


@pytest.mark.parametrize(
    ("values", "settings", "expected"),
    [
        (["a|b", " ", "c"], {}, [["a|b"], [], ["c"]]),
        (["a| b|a||"], {"separator": "|"}, [["a", "b"]]),
        (["F", "M", "x"], {"values": {"F": "female", "M": "male"}}, [["female"], ["male"], ["x"]]),
        (["1|2|3"], {"separator": "|", "values": {"1": "x", "2": "x", "3": ""}}, [["x"]]),
        (["Heat (1995)", "Heat"], {"pattern": r"\((\d{4})\)$"}, [["1995"], []]),
        (["a=1|b|c=2"], {"separator": "|", "pattern": "=(.)"}, [["1", "2"]]),
        (["a:F"], {"pattern": ":(.)", "values": {"F": "female"}}, [["female"]]),
        (["x", "xy"], {"pattern": "x(y)?"}, [[], ["y"]]),
    ],
)
def test_categories_from_texts(values, settings, expected):
    assert parse_values(values, **settings) == expected


def test_categories_from_typed_columns():
    assert parse_values([["Books", "Art", "Books"], None]) == [["Books", "Art"], []]
    assert parse_values([[["Books"], ["Art"]]]) == [["Books", "Art"]]
    assert parse_values([3, None]) == [["3"], []]
    assert parse_values([["F"], ["M"]], values={"F": "female"}) == [["female"], ["M"]]


def test_a_category_stands_on_one_line():
    assert parse_values([["two\nlines", "a\r\n b"], ["c"]]) == [["two lines", "a b"], ["c"]]


def test_flags_are_values_named_by_their_columns():
    table = pa.table(
        {
            "War": ["1", "0", "", "true"],
            "Drama": pa.array([1, 0, None, 1]),
            "Sci-Fi": pa.array([True, False, None, False]),
        }
    )
    attribute = Attribute(
        kind="categorical", flags=("War", "Drama", "Sci-Fi"), values={"Sci-Fi": "Science fiction"}
    )
    assert parse_attribute(table, "genres", attribute).to_pylist() == [
        ["War", "Drama", "Science fiction"],
        [],
        [],
        ["War", "Drama"],
    ]


def test_numbers_are_read_missing_or_unreadable():
    numbers = parse_values([" 1999 ", "", "old", "inf", "2001.5"], kind="numeric")
    assert numbers[0] == 1999.0 and numbers[1] is None and numbers[4] == 2001.5
    assert math.isnan(numbers[2]) and math.isnan(numbers[3])
    assert parse_values([1999, None], kind="numeric") == [1999.0, None]
    assert parse_values([1999.5, math.nan], kind="numeric") == [1999.5, None]


def test_a_pattern_finds_the_number():
    values = ["01-Jan-1995", "unknown", ""]
    assert parse_values(values, kind="numeric", pattern=r"(\d{4})$") == [1995.0, None, None]


def test_unreadable_numbers_are_counted_and_become_missing():
    attributes = {"a": Attribute(kind="numeric"), "b": Attribute(kind="categorical")}
    table = pa.table({"b": [["x"], []], "a": pa.array([math.nan, 1.0])})
    cleaned, unreadable = take_out_unreadable(table, attributes)
    assert cleaned.column_names == ["b", "a"]
    assert cleaned["a"].to_pylist() == [None, 1.0]
    assert unreadable == {"a": 1}
    assert take_out_unreadable(table.slice(0, 0), attributes)[1] == {"a": 0}


def test_several_chunks_and_no_chunk():
    attribute = Attribute(kind="categorical", values={"a": "A"})
    chunked = pa.chunked_array([["a"], [], ["b"]], pa.string())
    table = pa.table({"x": chunked})
    assert parse_attribute(table, "x", attribute).to_pylist() == [["A"], ["b"]]
    assert parse_attribute(table.slice(0, 0), "x", attribute).to_pylist() == []


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
PROFILE_HEADER = ["id", "gender", "age", "hobbies", "zip"]


def parse_users(first_line: int, data: bytes):
    block = csv_block(PROFILE_HEADER, data, first_line, "users.csv")
    table, letters = parse_profiles(block, PROFILES)
    assert table.schema == profiles_schema(PROFILES)
    assert block.records == len(table) + len(letters)
    return table, letters


def test_profiles_are_read_and_the_first_row_of_a_user_counts():
    second, letters = parse_users(5, b"ann,M,,,\n,F,1,,\nbad\n")
    assert [(letter["line"], letter["reason"]) for letter in letters] == [
        (7, "wrong_column_count"),
        (6, "missing_user_id"),
    ]
    first, _ = parse_users(2, b"ann,F,30,chess;go,1\nbob,,old,,2\neve,x,41.5,go,3\n")
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


@pytest.mark.parametrize("name", ["item_id", "title", "rating_count_by_fold", "user_id"])
def test_names_of_other_columns_are_refused(name):
    catalogue = CatalogueTable.model_validate(
        {"path": "p", "attributes": {name: {"kind": "numeric", "column": "x"}}}
    )
    with pytest.raises(ConfigurationError, match=f"'{name}' is taken"):
        open_catalogue(catalogue)


ATTRIBUTES = {
    "jobs": Attribute(kind="categorical", separator="|"),
    "age": Attribute(kind="numeric"),
}
SCHEMA = pa.schema(
    {"user": pa.string(), "jobs": pa.list_(pa.string()), "age": pa.float64(), "line": pa.int64()}
)


def profiles(*rows: tuple[str, list[str] | None, float | None]) -> pa.Table:
    named = [{"user": user, "jobs": jobs, "age": age, "line": 1} for user, jobs, age in rows]
    return pa.Table.from_pylist(named, schema=SCHEMA)


def decoded(columns: ProfileColumns, users: list[int]) -> list[dict[str, list]]:
    return list(map(values_of, encode_examples(columns.of_users(np.array(users, np.int64)))))


def test_values_are_those_of_the_user():
    table = profiles(("b", ["cook", "größe"], 30.5), ("x", ["spy"], 1.0), ("a", [], None))
    table = pa.concat_tables([table.slice(1), table.slice(0, 1)])  # several chunks, with offsets
    columns = ProfileColumns(table, ["a", "b", "c"], ATTRIBUTES)
    nothing = {"profile_jobs": [], "profile_age": []}
    assert decoded(columns, [1, 0, 2, 1]) == [
        {"profile_jobs": [b"cook", "größe".encode()], "profile_age": [30.5]},
        nothing,
        nothing,
        {"profile_jobs": [b"cook", "größe".encode()], "profile_age": [30.5]},
    ]


def test_values_are_counted_by_user():
    table = profiles(("a", ["cook", "spy"], 1.0), ("b", ["spy"], None), ("c", None, 2.0))
    columns = ProfileColumns(table, ["a", "b", "c", "d"], ATTRIBUTES)
    assert columns.count_values(np.array([0, 1, 2, 3])) == {"profile_jobs": {"cook": 1, "spy": 2}}
    assert columns.count_values(np.array([1]))["profile_jobs"]["cook"] == 0


@pytest.mark.parametrize("users", [["a"], []])
def test_no_profiles_at_all(users):
    columns = ProfileColumns(profiles(), users, ATTRIBUTES)
    nothing = {"profile_jobs": [], "profile_age": []}
    assert decoded(columns, [0] * len(users)) == [nothing] * len(users)
    assert columns.count_values(np.arange(len(users))) == {"profile_jobs": {}}
    assert ProfileColumns(profiles(), users, {}).of_users(np.zeros(0, int)) == {}
