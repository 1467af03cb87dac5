"""Vectors in TFRecord files of `tf.train.Example`, as this project writes them.

`entity_id` and `vector` are enough; `extraction` and `group_id` are read where they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from configs.command_line import CommandError
from preprocessing.answers.record import RejectedAnswer
from preprocessing.inputs import DECOMPRESSION_ERRORS, open_input
from preprocessing.records.contract import ENTITY_ID, EXTRACTION, GROUP_ID, VECTOR
from preprocessing.records.tfrecord_file import BrokenRecord, BrokenStream, records_in
from preprocessing.records.wire import Values, decode_example
from preprocessing.vector_files.blocks import (
    BLANK,
    RECORDS_PER_BLOCK,
    Problem,
    VectorBlock,
    VectorFile,
    VectorFilePart,
)

_READ_BYTES = 1 << 20

_Decoded = tuple[str, np.ndarray | Problem, str, str]


def parts_of(file: VectorFile) -> list[VectorFilePart]:
    """The whole file as one part."""
    return [VectorFilePart(file)]


def read_part(part: VectorFilePart) -> Iterator[VectorBlock]:
    """Yields the records.

    Raises:
      CommandError: the file is cut off or damaged.
    """
    first = part.first_record
    decoded: list[_Decoded] = []
    try:
        for record in records_in(_bytes_of(part.file)):
            decoded.append(_decode(record))
            if len(decoded) == RECORDS_PER_BLOCK:
                yield _block(first, decoded)
                first, decoded = first + len(decoded), []
    except BrokenRecord as error:
        raise CommandError(
            f"{part.file.name}: record {error.number}: {error}; copy or make the file again"
        ) from error
    if decoded:
        yield _block(first, decoded)


def _bytes_of(file: VectorFile) -> Iterator[bytes]:
    try:
        with open_input(file.path) as source:
            while data := source.read(_READ_BYTES):
                yield data
    except DECOMPRESSION_ERRORS as error:
        raise BrokenStream(str(error)) from error


def _block(first: int, decoded: list[_Decoded]) -> VectorBlock:
    ids, vectors, extractions, groups = zip(*decoded, strict=True)
    return VectorBlock(first, ids, vectors, extractions, groups)


def _decode(record: bytes) -> _Decoded:
    try:
        features = decode_example(record)
    except ValueError as error:
        return BLANK, Problem("not_an_object", str(error)), BLANK, BLANK
    try:
        texts = [_text(features, name) for name in (ENTITY_ID, EXTRACTION, GROUP_ID)]
        return texts[0], _vector(features), texts[1], texts[2]
    except RejectedAnswer as error:
        return BLANK, Problem(error.reason, error.detail), BLANK, BLANK


def _text(features: dict[str, Values], name: str) -> str:
    values = features.get(name, [])
    if len(values) > 1 or (len(values) == 1 and not isinstance(values[0], bytes)):
        raise RejectedAnswer("wrong_type", f"feature '{name}' is not one byte string")
    try:
        return values[0].decode() if len(values) else BLANK
    except UnicodeDecodeError as error:
        raise RejectedAnswer("invalid_utf8", f"feature '{name}': {error.reason}") from error


def _vector(features: dict[str, Values]) -> np.ndarray:
    values = features.get(VECTOR)
    if values is None or not len(values):
        raise RejectedAnswer("missing_field", f"there is no feature '{VECTOR}', or it is empty")
    if not isinstance(values, np.ndarray):
        raise RejectedAnswer("wrong_type", f"feature '{VECTOR}' is not a list of numbers")
    return values
