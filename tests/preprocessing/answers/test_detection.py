from __future__ import annotations

import json

import pytest

from configs.command_line import CommandError
from preprocessing.answers.formats import detect_format
from tests.preprocessing.answers.small_files import DOCUMENTS, batch_line, record, write


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_format_is_told_by_content(tmp_path, name, suffix):
    assert detect_format(write(tmp_path / f"file{suffix}", DOCUMENTS[name])) == name


@pytest.mark.parametrize("name", ["klg", "id-text"])
def test_objects_may_be_laid_out_over_lines(tmp_path, name):
    path = tmp_path / "file"
    path.write_text(json.dumps(DOCUMENTS[name], indent=1))
    assert detect_format(str(path)) == name


@pytest.mark.parametrize("name", ["records", "openai-batch", "openai-chat"])
def test_broken_lines_do_not_hide_the_format(tmp_path, name):
    lines = [b"", b"{", b"[]", b"\xff", *DOCUMENTS[name], b"{"]
    assert detect_format(write(tmp_path / "file", lines)) == name
    assert detect_format(write(tmp_path / "file", DOCUMENTS[name][:1])) == name


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([record("1", "x"), batch_line("item/2", "x")], "several formats (openai-batch, records)"),
        ([{**record("1", "x"), "choices": []}], "several formats (openai-chat, records)"),
        ([{"a": 1}, {"b": 2}], "no format known here"),
        ({"a": 1}, "no format known here"),
        ({}, "no format known here"),
        ([b"", b" "], "the file is empty"),
        ([b'{"1": nothing'], "line 1, column 7"),
        (["text"], "not a JSON object but a str"),
    ],
)
def test_what_cannot_be_told_is_an_error_that_names_the_file(tmp_path, document, message):
    path = write(tmp_path / "file", document)
    with pytest.raises(CommandError) as raised:
        detect_format(path)
    assert str(raised.value).startswith(f"{path}: ") and message in str(raised.value)


def test_the_choices_are_named(tmp_path):
    with pytest.raises(CommandError, match="--format: openai-batch, records$"):
        detect_format(write(tmp_path / "file", [record("1", "x"), batch_line("item/2", "x")]))
    with pytest.raises(CommandError, match="--format: id-text, klg, openai-batch, openai-chat, r"):
        detect_format(write(tmp_path / "file", {"a": 1}))
