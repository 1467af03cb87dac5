from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from serving.commands.serve import (
    batch_sizes,
    count_from_one,
    named_base_path,
    port_number,
    seconds,
    version_label,
)


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (named_base_path, "movies=out/a=b", ("movies", "out/a=b")),
        (version_label, "movies:stable=12", ("movies", "stable", 12)),
        (port_number, "0", 0),
        (port_number, "65535", 65535),
        (count_from_one, "1", 1),
        (count_from_one, "2147483647", 2**31 - 1),
        (batch_sizes, "1,8,64", (1, 8, 64)),
        (seconds, "0", 0.0),
        (seconds, "1.5", 1.5),
    ],
)
def test_values_are_read(read: Callable, text: str, value: object) -> None:
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (named_base_path, "movies"),
        (named_base_path, "movies="),
        (named_base_path, "a/b=c"),
        (version_label, "movies=1"),
        (version_label, "movies:stable"),
        (version_label, "movies:stable=x"),
        (port_number, "65536"),
        (port_number, "-1"),
        (port_number, "\u0663"),
        (count_from_one, "0"),
        (count_from_one, "x"),
        (count_from_one, str(2**31)),
        (batch_sizes, "1,,8"),
        (seconds, "-1"),
        (seconds, "nan"),
        (seconds, ""),
    ],
)
def test_other_forms_are_refused_with_what_was_received(read: Callable, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="expected .*Received: "):
        read(text)
