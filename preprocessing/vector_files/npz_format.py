"""Vectors in NumPy's `.npz` files: arrays `entity_id` (or `ids`) and `vectors`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import numpy as np

from configs.command_line import CommandError
from preprocessing import storage
from preprocessing.records.contract import ENTITY_ID, EXTRACTION, GROUP_ID
from preprocessing.vector_files.blocks import (
    BLANK,
    RECORDS_PER_BLOCK,
    VectorBlock,
    VectorFile,
    VectorFilePart,
)

_IDS = (ENTITY_ID, "ids")
_VECTORS = "vectors"
_DAMAGED = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, KeyError)


def parts_of(file: VectorFile) -> list[VectorFilePart]:
    """The whole file as one part.

    Raises:
      CommandError: it is no `.npz` file, is cut off, or lacks an array.
    """
    try:
        with storage.open_bytes(file.path) as source, zipfile.ZipFile(source) as archive:
            _id_array(file, archive)
            with archive.open(f"{_VECTORS}.npy") as member:
                shape, _, _ = _header(cast(BinaryIO, member))
    except _DAMAGED as error:
        raise _not_readable(file, error) from error
    if len(shape) != 2:
        raise CommandError(f"{file.name}: '{_VECTORS}' has the shape {shape}, not [records, width]")
    return [VectorFilePart(file)]


def read_part(part: VectorFilePart) -> Iterator[VectorBlock]:
    """Yields the records; the vectors are decompressed block by block.

    Raises:
      CommandError: the file is damaged, or its arrays do not fit together.
    """
    file = part.file
    try:
        with storage.open_bytes(file.path) as source, zipfile.ZipFile(source) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            ids = _texts(archive, _id_array(file, archive))
            extractions, groups = (
                _texts(archive, name) if name in names else [BLANK] * len(ids)
                for name in (EXTRACTION, GROUP_ID)
            )
            with archive.open(f"{_VECTORS}.npy") as member:
                rows = _rows(cast(BinaryIO, member))
                start = 0
                for block in rows:
                    end = start + len(block)
                    if end > len(ids) or end > len(extractions) or end > len(groups):
                        raise ValueError("its arrays have different numbers of records")
                    yield VectorBlock(
                        start + 1, ids[start:end], list(block), extractions[start:end],
                        groups[start:end],
                    )  # fmt: skip
                    start = end
                if {start} != {len(ids), len(extractions), len(groups)}:
                    raise ValueError("its arrays have different numbers of records")
                member.read()  # the end of the member, where its checksum is compared
    except _DAMAGED as error:
        raise _not_readable(file, error) from error


def _id_array(file: VectorFile, archive: zipfile.ZipFile) -> str:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    id_names = [name for name in _IDS if name in names]
    if not id_names or _VECTORS not in names:
        raise CommandError(
            f"{file.name}: needs the arrays '{ENTITY_ID}' and '{_VECTORS}'. Its arrays: "
            f"{', '.join(names)}"
        )
    return id_names[0]


def _texts(archive: zipfile.ZipFile, name: str) -> list[str]:
    with archive.open(f"{name}.npy") as member:
        values = np.lib.format.read_array(member, allow_pickle=False)
    if values.ndim != 1 or values.dtype.kind not in "iuUS":
        raise ValueError(f"array '{name}' is not a list of texts or whole numbers")
    if values.dtype.kind == "S":
        return [value.decode() for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _rows(member: BinaryIO) -> Iterator[np.ndarray]:
    shape, fortran_order, dtype = _header(member)
    if fortran_order:
        columns = np.frombuffer(member.read(), dtype).reshape(shape[::-1])
        for start in range(0, shape[0], RECORDS_PER_BLOCK):
            yield columns[:, start : start + RECORDS_PER_BLOCK].T
        return
    row_bytes = shape[1] * dtype.itemsize
    for start in range(0, shape[0], RECORDS_PER_BLOCK):
        rows = min(RECORDS_PER_BLOCK, shape[0] - start)
        yield np.frombuffer(member.read(rows * row_bytes), dtype).reshape(rows, shape[1])


def _header(member: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran_order, dtype = read(member)
    if dtype.kind not in "fiu":
        raise ValueError(f"array '{_VECTORS}' holds {dtype}, not numbers")
    return shape, fortran_order, dtype


def _not_readable(file: VectorFile, error: Exception) -> CommandError:
    return CommandError(f"{file.name}: not a whole .npz file of vectors ({error})")
