from __future__ import annotations

import gzip

import pytest

from configs.command_line import CommandError
from preprocessing.answers.formats import read_json_object


def test_entries_keep_their_order_and_repeated_ids(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"b": {"x": [{"y": 1}]}, "a": "t", "b": null}'))
    assert read_json_object(str(path)) == [("b", {"x": [{"y": 1}]}), ("a", "t"), ("b", None)]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"1": "a",\n "2": b}', "line 2, column 7"),
        (b'{"1": "a', "line 1, column 7"),
        (b"", "line 1, column 1"),
        (b'{"1": "a"}\n{"2": "b"}', "line 2, column 1"),
        (b"[1]", "a list"),
        (b'{"1": "\xff"}', "byte 7"),
        (b'{"1": NaN}', "NaN is not a JSON number"),
        (b'{"1": ' + b"[" * 100_000, "recursion"),
    ],
)
def test_a_file_that_is_no_object_is_named_with_the_place(tmp_path, data, place):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(CommandError) as raised:
        read_json_object(str(path))
    assert str(raised.value).startswith(f"{path}: ") and place in str(raised.value)


def test_a_small_file_that_becomes_large_is_not_read(tmp_path):
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(b'{"1": "' + b"x" * (3 << 20) + b'"}'))
    with pytest.raises(CommandError, match=r"bomb.json.gz: more than 2 MB.*JSON lines"):
        read_json_object(str(path), most_bytes=2 << 20)
    assert len(read_json_object(str(path), most_bytes=4 << 20)) == 1
