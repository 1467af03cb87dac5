"""Files of vectors made elsewhere to entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from configs.loading import ConfigurationError
from preprocessing.inputs import fingerprint_inputs
from preprocessing.knowledge.answers import RejectedAnswer, check_entity_id
from preprocessing.knowledge.vector_files.blocks import Problem
from preprocessing.knowledge.vector_files.registry import parts_of, read_part, vector_files
from preprocessing.records.contract import COLLECTIVE, EXTRACTIONS, INDIVIDUAL
from serving.refresh.description import RefreshDescription
from serving.refresh.incoming import Entry, RecordPlace, Records

_Row = tuple[RecordPlace, str, str, np.ndarray | Problem]


def read_vectors(
    paths: Sequence[str], source: str, description: RefreshDescription, records: Records
) -> None:
    """Adds the records of vector files: `entity_id`, `vector` and perhaps `extraction`.

    With the extraction "collective" the id is that of a group. The first sound vector of an entity
    counts.

    Args:
      paths: .parquet, .npz or TFRecord files.
      source: the source of all vectors, a key of the description's sources.
      description: of the version.
      records: gets the entries and rejections.

    Raises:
      ConfigurationError: a file does not exist or its name tells no format.
      CommandError: a file cannot be read.
    """
    fingerprint_inputs({path: "--vectors" for path in paths})
    width = description.sources[source].dimension
    seen: dict[tuple[bool, str], RecordPlace] = {}
    for place, entity_id, extraction, found in _rows(paths):
        records.places.append(place)
        collective = extraction == COLLECTIVE
        try:
            vector = _checked(entity_id, extraction, found, width)
            first = seen.setdefault((collective, entity_id), place)
            if first != place:
                detail = f"same entity as record {first.line} of {first.file}"
                raise RejectedAnswer("duplicate_entity", detail)
        except RejectedAnswer as rejection:
            records.reject(place, rejection.reason, rejection.detail)
            continue
        records.entries.append(Entry(place, source, collective, entity_id, vector=vector))


def source_of_vectors(description: RefreshDescription, source: str | None) -> str:
    """The one source that `--vectors` files are of.

    Raises:
      ConfigurationError: none is named, or several are meant.
    """
    names = ", ".join(description.sources)
    if source is None:
        raise ConfigurationError(
            f"--source: files of vectors do not say which source they are of; name it ({names})"
        )
    if source not in description.sources:
        raise ConfigurationError(
            f"--source: '{source}' is no single source of the model; vectors are of one of {names}"
        )
    return source


def _rows(paths: Sequence[str]) -> Iterator[_Row]:
    for file in vector_files(paths, "--vectors"):
        for part in parts_of(file):
            for block in read_part(part):
                rows = zip(block.entity_ids, block.extractions, block.vectors, strict=True)
                for line, row in enumerate(rows, block.first_record):
                    yield RecordPlace(file.name, line), *row


def _checked(
    entity_id: str, extraction: str, vector: np.ndarray | Problem, width: int
) -> np.ndarray:
    """The vector, or RejectedAnswer."""
    if not entity_id.strip():
        raise RejectedAnswer("blank_field", "field 'entity_id' is empty")
    check_entity_id(entity_id)
    if extraction and extraction not in EXTRACTIONS:
        raise RejectedAnswer(
            "extraction_mismatch", f"'{extraction}'; there are {INDIVIDUAL} and {COLLECTIVE}"
        )
    if isinstance(vector, Problem):
        raise RejectedAnswer(vector.reason, vector.detail)
    if len(vector) != width:
        raise RejectedAnswer(
            "wrong_width", f"{len(vector)} numbers; the source's vectors have {width}"
        )
    return vector
