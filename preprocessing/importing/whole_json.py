"""Files that are one JSON document, and what is wrong with those that are not."""

from __future__ import annotations

import json

from configs.command_line import CommandError
from preprocessing.inputs import open_input
from preprocessing.knowledge.answers import refuse_json_constant

MOST_BYTES = 512 << 20
"""Bytes of the largest file that is one JSON object, decompressed: it is read at once."""


class Pairs(list[tuple[str, object]]):
    """A JSON object as it is written: an id that occurs twice is there twice."""


def read_json_object(path: str, most_bytes: int = MOST_BYTES) -> Pairs:
    """The entries of a file that is one JSON object; objects within are dictionaries.

    Raises:
      CommandError: it is something else, and the message names the place; or it has more than
        `most_bytes`.
    """
    with open_input(path) as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise CommandError(
            f"{path}: more than {most_bytes >> 20} MB, decompressed, as one JSON object; write its "
            "entries as JSON lines (docs/importing.md, --format records), or as several files"
        )
    try:
        document = json.loads(
            data.decode("utf-8-sig"), object_pairs_hook=Pairs, parse_constant=refuse_json_constant
        )
        if isinstance(document, Pairs):
            return Pairs((key, _plain(value)) for key, value in document)
    except UnicodeDecodeError as error:
        raise CommandError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start})"
        ) from error
    except json.JSONDecodeError as error:
        raise CommandError(
            f"{path}: not a JSON object: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{path}: not a JSON object: {error}") from error
    raise CommandError(
        f"{path}: not a JSON object but a {type(document).__name__}, at line 1, column 1"
    )


def _plain(value: object) -> object:
    if isinstance(value, Pairs):
        return {key: _plain(inner) for key, inner in value}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
