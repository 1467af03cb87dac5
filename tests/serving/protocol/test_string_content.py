from __future__ import annotations

import pytest

from serving.protocol.tensors import decode_strings


def test_strings_follow_their_lengths() -> None:
    assert decode_strings(b"\x01\x00\x03abcd", 3) == [b"a", b"", b"bcd"]
    assert decode_strings(b"", 0) == []


def test_a_length_may_have_several_bytes() -> None:
    long = b"x" * 300
    assert decode_strings(b"\xac\x02\x01" + long + b"y", 2) == [long, b"y"]


@pytest.mark.parametrize(
    ("content", "count"),
    [(b"\x02a", 1), (b"\x01ab", 1), (b"\x01", 2), (b"\xff", 1), (b"\xff" * 6, 1)],
)
def test_other_content_is_refused(content: bytes, count: int) -> None:
    with pytest.raises(ValueError, match="content|cut off"):
        decode_strings(content, count)
