from __future__ import annotations

import json

import pyarrow as pa
import pytest

from configs.loading import ConfigurationError
from preprocessing.tables import blocks as lines_module
from preprocessing.tables import json_lines_format
from preprocessing.tables.blocks import LineBlock, WantedColumns
from preprocessing.tables.json_lines_format import parse_json_lines, require_fields
from preprocessing.tables.values import lists_of, numbers_of, texts_of
from tests.preprocessing.tables.tables_on_disk import text_file

WANTED = WantedColumns(
    {"data.x.item": "id", "data.x.attributes.brand.column": "brand"}, frozenset(["data.x.item"])
)


def require(tmp_path, *contents: str) -> None:
    files = []
    for number, content in enumerate(contents):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(content, encoding="utf-8")
        files.append(text_file(path, form="jsonl"))
    require_fields(files, "utf-8", WANTED, "data.x.path")


def test_a_field_need_not_be_in_every_record(tmp_path):
    require(tmp_path, '{"id": 1}\n{"id": 2}\n', '\n{"id": 3, "br\\u0061nd": null, "brand": "x"}')


def test_a_rare_field_is_found_far_behind(tmp_path, monkeypatch):
    lines = [json.dumps({"id": number, "text": '"brand": no'}) for number in range(2000)]
    monkeypatch.setattr(lines_module, "BLOCK_BYTES", 256)
    require(tmp_path, "\n".join([*lines, '{"brand": ["x"]}']))


def test_a_field_that_is_nowhere_is_named_with_those_that_are_there(tmp_path):
    with pytest.raises(
        ConfigurationError,
        match=r"attributes.brand.column: no record of .*0.jsonl has a field 'brand'. Fields there: "
        "id, Brand",
    ):
        require(tmp_path, '{"id": {"brand": 1}, "Brand": "\\"brand\\""}\nnot json "brand"\n')
    with pytest.raises(ConfigurationError, match="the 2 files of data.x.path .*'id'.*item: null'"):
        require(tmp_path, '{"brand": 1}\n', '{"brand": 1}\n')


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "0.jsonl is empty"),
        ("\n \n", "0.jsonl is empty"),
        ('[{"id": 1}]', "begins with '\\['"),
        ("{'id': 1, 'brand': 'x'}\n", "no line at the start of .* is a JSON object"),
    ],
)
def test_files_that_are_not_json_lines_are_explained(tmp_path, content, message):
    with pytest.raises(ConfigurationError, match=f"data.x.path: .*{message}"):
        require(tmp_path, content)


def test_few_of_many_fields_are_named(tmp_path):
    fields = {f"field{number}": 1 for number in range(3000)}
    with pytest.raises(ConfigurationError) as raised:
        require(tmp_path, json.dumps({"x" * 500: 1, **fields}))
    assert f"{'x' * 40}..., field0, " in str(raised.value)
    assert "field18 and 2,981 more" in str(raised.value)


def parse(data: str | bytes, *columns: str, encoding: str = "utf-8"):
    stored = data.encode() if isinstance(data, str) else data
    block = LineBlock(0, 1, stored)
    parsed = parse_json_lines(block, text_file("f.jsonl", form="jsonl"), encoding, columns)
    assert parsed.table.column_names == list(columns)
    assert parsed.records == len(parsed.lines) + len(parsed.dead_letters)
    return parsed


def texts(data: str | bytes, column: str = "a") -> list[str]:
    return texts_of(parse(data, column).table[column]).to_pylist()


LINES = [
    {"a": 1, "text": "x"},
    {"a": "two", "text": 'y, "z"\n'},
    {"a": 3.5},
    {"a": None},
    {},
    {"a": True},
    {"a": 12345678901234567890},
    {"a": 5.0},
    {"a": 1e20},
    {"a": ["p", "q"]},
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_values_of_all_types_become_texts(end):
    data = end.join(map(json.dumps, LINES))
    expected = ["1", "two", "3.5", "", "", "true", "12345678901234567890", "5", "1e+20", "p, q"]
    assert texts(data) == expected
    assert texts(data, "text")[:2] == ["x", 'y, "z"\n']


@pytest.mark.parametrize("value", [7, 5.0, 2.25, "7", "2018-05-01", True, None, [], ["x", "y"]])
def test_a_block_of_like_lines_is_read_as_line_by_line(value, monkeypatch):
    data = "".join(json.dumps({"b": 0, "a": value}) + "\n" for _ in range(3))
    at_once = parse(data, "a")
    monkeypatch.setattr(json_lines_format, "_parse_alike", lambda data, columns: None)
    one_by_one = parse(data, "a")
    for read in (texts_of, numbers_of, lambda column: lists_of(column, None)):
        assert read(at_once.table["a"]).to_pylist() == read(one_by_one.table["a"]).to_pylist()
    assert at_once.lines.tolist() == one_by_one.lines.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (7, pa.int64()),
        (7.5, pa.float64()),
        ("x", pa.string()),
        (False, pa.bool_()),
        (["x"], pa.list_(pa.string())),
        ([["x"]], pa.list_(pa.list_(pa.string()))),
    ],
)
def test_blocks_of_like_lines_keep_their_types(value, found):
    data = "".join(json.dumps({"a": value}) + "\n" for _ in range(3))
    assert parse(data, "a").table["a"].type == found


def test_lists_in_lists_are_values_of_one_list():
    data = '{"a": [["Books", "Art"], ["Books"]]}\n{"a": []}\n{"b": 1}\n'
    for lines in (data, data + '{"a": "Books"}\n'):
        actual = lists_of(parse(lines, "a").table["a"], None).to_pylist()
        assert actual[:3] == [["Books", "Art"], [], []]
        assert actual[3:] in ([], [["Books"]])


def test_integers_keep_all_digits_beside_fractions():
    many = [{"a": 0.5}, {"a": 1}] * 40
    data = "".join(json.dumps(line) + "\n" for line in [*many, {"a": 9007199254740993}])
    assert texts(data)[-1] == "9007199254740993"


def test_a_type_that_changes_after_the_first_lines_is_no_problem():
    data = '{"a": 1}\n' * 200 + '{"a": "x"}\n{"a": 2.5}\n'
    assert texts(data)[-3:] == ["1", "x", "2.5"]


def test_bad_lines_become_dead_letters_and_others_stay():
    data = (
        b'{"a": "good"}\n'
        b"\n"
        b"{'a': 'python'}\n"
        b'{"a": 1\n'
        b"[1, 2]\n"
        b'{"a": {"b": 1}}\n'
        b'{"a": "\\ud800"}\n'
        b'{"a": "\xff"}\n'
        b'{"a": "x"} {"a": "y"}\n'
        b'{"a": "last", "c": {"any": "object"}}'
    )
    parsed = parse(data, "a")
    assert texts_of(parsed.table["a"]).to_pylist() == ["good", "last"]
    assert parsed.lines.tolist() == [1, 10]
    assert [(letter["line"], letter["reason"]) for letter in parsed.dead_letters] == [
        (3, "malformed_json"),
        (4, "malformed_json"),
        (5, "unsupported_json"),
        (6, "unsupported_json"),
        (7, "invalid_utf8"),
        (8, "invalid_utf8"),
        (9, "malformed_json"),
    ]
    assert parsed.dead_letters[0]["detail"] == (
        "Expecting property name enclosed in double quotes at character 2"
    )
    assert parsed.dead_letters[3]["detail"] == "field 'a' holds an object"


def test_an_object_over_several_lines_is_no_record():
    parsed = parse('{"a":\n1}\n{"a": 2}{"a": 3}\n{"a": 4}\n', "a")
    assert texts_of(parsed.table["a"]).to_pylist() == ["4"]
    assert [letter["line"] for letter in parsed.dead_letters] == [1, 2, 3]


def test_nesting_without_end_is_a_dead_letter():
    parsed = parse('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "a")
    assert [letter["reason"] for letter in parsed.dead_letters] == ["malformed_json"]


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_nothing_to_read(data):
    assert len(parse(data, "a").table) == 0


def test_several_fields_in_the_wanted_order():
    parsed = parse('{"b": 1, "a": "x"}\n{"a": "y"}\n', "a", "c", "b")
    assert [texts_of(column).to_pylist() for column in parsed.table.columns] == [
        ["x", "y"], ["", ""], ["1", ""],
    ]  # fmt: skip
