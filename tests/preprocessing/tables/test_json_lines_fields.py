from __future__ import annotations

import json

import pytest

from configs.loading import ConfigurationError
from preprocessing.tables import blocks as lines_module
from preprocessing.tables.blocks import WantedColumns
from preprocessing.tables.json_lines_format import require_fields
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
