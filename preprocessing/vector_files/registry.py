"""Formats of vector files by the end of the file's name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, cast

import numpy as np

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing import storage
from preprocessing.vector_files import npz_format, parquet_format, tfrecord_format
from preprocessing.vector_files.blocks import VectorBlock, VectorFile, VectorFilePart


class VectorFormat(Protocol):
    """What every format offers."""

    def parts_of(self, file: VectorFile) -> list[VectorFilePart]:
        """Divides a file; CommandError when it cannot be read."""

    def read_part(self, part: VectorFilePart) -> Iterator[VectorBlock]:
        """Yields the records of a part; CommandError when it cannot be read to its end."""


_FORMATS = {
    ".parquet": parquet_format,
    ".npz": npz_format,
    ".tfrecord": tfrecord_format,
    ".tfrecord.gz": tfrecord_format,
}


def format_of(name: str) -> VectorFormat | None:
    """The format of a file; None if its name tells none."""
    formats = [form for end, form in _FORMATS.items() if name.endswith(end)]
    return cast(VectorFormat, formats[0]) if formats else None


def vector_files(names: Sequence[str], key: str) -> list[VectorFile]:
    """The files that the configuration names.

    Args:
      names: paths or URLs.
      key: configuration key that names them.

    Raises:
      ConfigurationError: the name of a file tells no format.
    """
    for name in names:
        if format_of(name) is None:
            raise ConfigurationError(
                f"{key}: '{name}': vectors are read from {', '.join(_FORMATS)} files"
            )
    return [VectorFile(order, name, storage.absolute(name)) for order, name in enumerate(names)]


def parts_of(file: VectorFile) -> list[VectorFilePart]:
    """The parts of a file, to be read on their own.

    Raises:
      CommandError: it cannot be read.
    """
    return _format(file).parts_of(file)


def read_part(part: VectorFilePart) -> Iterator[VectorBlock]:
    """Yields the records of a part.

    Raises:
      CommandError: it cannot be read to its end.
    """
    return _format(part.file).read_part(part)


def first_width(parts: Sequence[VectorFilePart], key: str) -> int:
    """Width of the first vector, which all others must have.

    Raises:
      CommandError: there is no vector at all.
    """
    for part in parts:
        for block in read_part(part):
            for vector in block.vectors:
                if isinstance(vector, np.ndarray):
                    return len(vector)
    files = ", ".join(dict.fromkeys(part.file.name for part in parts))
    raise CommandError(f"{key}: there are no vectors in {files}")


def _format(file: VectorFile) -> VectorFormat:
    file_format = format_of(file.name)
    assert file_format is not None, file.name
    return file_format
