"""Reads the ranking request of `python -m serving predict`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from configs.command_line import CommandError
from serving.client.request_document import parse_request
from serving.client.user_request import UserRequest


def read_request(path: str, positive_rating: float | None) -> tuple[UserRequest, list[str] | None]:
    """Reads a request from a JSON file, or from standard input when the path is `-`.

    Args:
      path: the file.
      positive_rating: a rating of at least this counts as positive in statistics that are missing;
        None leaves it to the model.

    Returns:
      The user, and the candidates' ids; None when the request names no candidates.

    Raises:
      CommandError: the request is malformed; the message names the file and the field.
      OSError: the file cannot be read.
    """
    where = name_of(path)
    body = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{where}: not valid JSON ({error})") from error
    try:
        return parse_request(document, positive_rating)
    except CommandError as error:
        raise CommandError(f"{where}: {error}") from error


def name_of(path: str) -> str:
    """What messages call the request: the path, or standard input for `-`."""
    return "standard input" if path == "-" else path
