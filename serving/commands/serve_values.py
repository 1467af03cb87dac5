"""The forms that the values of `serve`'s options have.

Each function raises `argparse.ArgumentTypeError`, with the form that was expected.
"""

from __future__ import annotations

import argparse
import re

from configs.command_line import finite_number, positive_integer

_LARGEST_COUNT = 2**31 - 1
_LABEL = re.compile(r"(?P<model>[^/:\s=]+):(?P<label>[^/:\s=]+)=(?P<version>[0-9]{1,18})")


def named_base_path(text: str) -> tuple[str, str]:
    """Reads NAME=BASE."""
    name, _, base_path = text.partition("=")
    if not base_path or not re.fullmatch(r"[^/:\s]+", name):
        raise argparse.ArgumentTypeError(
            f"expected NAME=BASE, for example movies=out/demo/export. Received: {text!r}"
        )
    return name, base_path


def version_label(text: str) -> tuple[str, str, int]:
    """Reads NAME:LABEL=VERSION."""
    match = _LABEL.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"expected NAME:LABEL=VERSION, for example movies:stable=2. Received: {text!r}"
        )
    return match["model"], match["label"], int(match["version"])


def port_number(text: str) -> int:
    """Reads a port from 0 to 65535."""
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535. Received: {text!r}")
    return int(text)


def count_from_one(text: str) -> int:
    """Reads a whole number from 1 that the C++ side's numbers of 32 bits can hold."""
    number = positive_integer(text)
    if number > _LARGEST_COUNT:
        raise argparse.ArgumentTypeError(
            f"expected a whole number up to {_LARGEST_COUNT}. Received: {text!r}"
        )
    return number


def batch_sizes(text: str) -> tuple[int, ...]:
    """Reads whole numbers with commas between them."""
    return tuple(count_from_one(size) for size in text.split(","))


def positive_seconds(text: str) -> float:
    """Reads seconds above 0."""
    number = seconds(text)
    if not number:
        raise argparse.ArgumentTypeError(f"expected seconds above 0. Received: {text!r}")
    return number


def seconds(text: str) -> float:
    """Reads seconds from 0."""
    if not re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"expected seconds from 0. Received: {text!r}")
    return finite_number(text)
