from __future__ import annotations

import math
import re

import grpc
import pytest

from serving.server.errors import RequestError
from serving.server.json_values import encoded, format_error, kind_name, parse_object, quoted


def test_an_object_is_parsed() -> None:
    document = parse_object('{"a": [1, 2.5, NaN, -Infinity, true, null], "ü": "\\u00fc"}'.encode())
    assert document["a"][:2] == [1, 2.5]
    assert math.isnan(document["a"][2])
    assert document["a"][3:] == [-math.inf, True, None]
    assert document["ü"] == "ü"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("  ", 2),
        ('{"instances": [1,}', 17),
        ("{1: 2}", 1),
        ('{"a" 1}', 5),
        ('{"instances"', 12),
        ('{"a": 1 "b": 2}', 8),
        ('{"a": [1, "]"', 13),
        ('{"ü": [1 2]}', 10),
        ("{} {}", 3),
        ('{"a": "\\x"}', 7),
        ('{"a": "\\u12"}', 8),
        ('{"a": "\n"}', 7),
    ],
)
def test_the_place_where_json_is_broken_is_told_in_bytes(text: str, offset: int) -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(text.encode())
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    message = re.fullmatch(r"JSON Parse error: \S.* at offset: (\d+)", caught.value.message)
    assert message is not None and int(message[1]) == offset


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "JSON Parse error: The document is empty"),
        (b'{"a": "open', "JSON Parse error: Unterminated string starting at offset: 6"),
        (b'{"a": "\xff"}', "JSON Parse error: Invalid encoding in string. at offset: 7"),
        (b'{"a": ' + b"[" * 100_000, "JSON Parse error: lists or objects are nested too deeply."),
        (b'{"a": ' + b"1" * 5000, "JSON Parse error: Number too big to be stored in double."),
        (b'{"a": [1.5, -1e400]}', "JSON Parse error: Number too big to be stored in double."),
        (b'{"a": 1e+0309}', "JSON Parse error: Number too big to be stored in double."),
        (
            b'{"a": ' + b"9" * 400 + b".5}",
            "JSON Parse error: Number too big to be stored in double.",
        ),
        (b"[]", "JSON Value: [] Is not object"),
        (b'{"a": "\xed\xa0\x80" 1}', "JSON Parse error: Invalid encoding in string. at offset: 7"),
        ("{}".encode("utf-16"), "JSON Parse error: Invalid encoding in string. at offset: 0"),
        ("{}".encode("utf-8-sig"), "JSON Parse error: Unexpected UTF-8 BOM"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_object(body)
    assert caught.value.message.startswith(message)


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert encoded("ü") == b"\xc3\xbc"
    document = parse_object(b'{"a": "\\ud83d\\ude00", "b": "\\ud83d"}')
    assert encoded(document["a"]) == b"\xf0\x9f\x98\x80"
    with pytest.raises(RequestError, match="JSON Parse error: The surrogate pair in string is"):
        encoded(document["b"])


def test_values_are_quoted_and_named_as_by_rapidjson() -> None:
    assert quoted({"a": [1.0, "ü"]}) == '{\n    "a": [\n        1.0,\n        "ü"\n    ]\n}'
    assert str(format_error(None, "is nothing")) == "JSON Value: null is nothing"
    assert len(quoted("x" * 100_000)) < 1100
    values = (None, True, False, {}, [], "", 1, 1.5)
    assert [kind_name(value) for value in values] == [
        *("Null", "True", "False", "Object", "Array", "String", "Number", "Number")
    ]


def test_numbers_near_the_end_of_doubles_are_read() -> None:
    document = parse_object(b'{"a": [1e308, 1e-400, 12345678901234567890.5, Infinity]}')
    assert document["a"] == [1e308, 0.0, 12345678901234567890.5, math.inf]


def test_only_the_beginning_of_a_quoted_value_is_written() -> None:
    class Watched(list):
        """Says how far it was read."""

        read = 0

        def __iter__(self):
            for value in super().__iter__():
                self.read += 1
                yield value

    values = Watched([7] * 1_000_000)
    assert quoted(values).startswith("[\n    7,\n    7,")
    assert len(quoted(values)) == 1024 + len("...")
    assert values.read < 1_000
