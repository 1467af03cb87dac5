"""Knowledge vectors made elsewhere: read from Parquet, .npz and TFRecord files."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing import storage
from preprocessing.answers.record import RejectedAnswer, check_entity_id
from preprocessing.inputs import is_of_system, open_input
from preprocessing.records.contract import ENTITY_ID, EXTRACTION, EXTRACTIONS, GROUP_ID, VECTOR
from preprocessing.records.tfrecord_file import BrokenRecord, BrokenStream, records_in
from preprocessing.records.wire import Values, decode_example

RECORDS_PER_BLOCK = 1024

BLANK = ""


class Problem(NamedTuple):
    """Why a record has no vector.

    Attributes:
      reason: a name of `preprocessing.answers.record`.
      detail: what was found.
    """

    reason: str
    detail: str


def problem_of(vector: np.ndarray) -> Problem | None:
    """Why a vector that was rounded to float16 is of no use; None when it is."""
    if not np.isfinite(vector).all():
        return Problem("non_finite_vector", "a number of the vector is not finite in float16")
    if not vector.any():
        return Problem("zero_vector", "all numbers of the vector are zero")
    return None


def usable_vector(
    entity_id: str, vector: np.ndarray | Problem, extraction: str, width: int
) -> np.ndarray:
    """The vector of a record, [width] float16.

    Args:
      entity_id: whom it is about.
      vector: as it was read.
      extraction: "" where the file does not say.
      width: of all vectors of the source.

    Raises:
      RejectedAnswer: the record is of no use.
    """
    if isinstance(vector, Problem):
        raise RejectedAnswer(*vector)
    if not entity_id.strip():
        raise RejectedAnswer("blank_field", "field 'entity_id' is empty")
    check_entity_id(entity_id)
    if extraction not in (BLANK, *EXTRACTIONS):
        raise RejectedAnswer(
            "extraction_mismatch",
            f"'{extraction}'; there are {' and '.join(EXTRACTIONS)} vectors",
        )
    if len(vector) != width:
        raise RejectedAnswer("wrong_width", f"width {len(vector)}, others of the source {width}")
    with np.errstate(over="ignore"):
        rounded = vector.astype(np.float16)
    problem = problem_of(rounded)
    if problem is not None:
        raise RejectedAnswer(*problem)
    return rounded


@dataclass(frozen=True)
class VectorFile:
    """One file of vectors.

    Attributes:
      order: place in the configuration; the first vector of an entity counts.
      name: how the configuration names it, for people.
      path: absolute path or URL.
    """

    order: int
    name: str
    path: str


@dataclass(frozen=True)
class VectorFilePart:
    """A part of a file that is read on its own.

    Attributes:
      file: the file.
      first_record: number of its first record in the file, counted from 1.
      row_group: Parquet: which row group; None for other formats, whose part is the whole file.
    """

    file: VectorFile
    first_record: int = 1
    row_group: int | None = None


@dataclass(frozen=True)
class VectorBlock:
    """Some records, one after the other.

    Attributes:
      first_record: number of the first one in the file, counted from 1.
      entity_ids: [records].
      vectors: [records] numbers of any width and type, or why the record has none.
      extractions: [records] "" where the file does not say.
      group_ids: [records] "" where the file does not say.
    """

    first_record: int
    entity_ids: Sequence[str]
    vectors: Sequence[np.ndarray | Problem]
    extractions: Sequence[str]
    group_ids: Sequence[str]


def vector_files(names: Sequence[str], key: str) -> list[VectorFile]:
    """The files that the configuration names.

    Args:
      names: paths or URLs.
      key: configuration key that names them.

    Raises:
      ConfigurationError: the name of a file tells no format.
    """
    for name in names:
        if not name.endswith(tuple(_FORMATS)):
            raise ConfigurationError(
                f"{key}: '{name}': vectors are read from {', '.join(_FORMATS)} files"
            )
    return [VectorFile(order, name, storage.absolute(name)) for order, name in enumerate(names)]


def parts_of(file: VectorFile) -> list[VectorFilePart]:
    """The parts of a file, to be read on their own.

    Raises:
      CommandError: it is not of its format, is cut off, or lacks a column or an array.
    """
    return _format_of(file).parts_of(file)


def read_part(part: VectorFilePart) -> Iterator[VectorBlock]:
    """Yields the records of a part.

    Raises:
      CommandError: the file is damaged, or its columns or arrays do not fit together.
    """
    return _format_of(part.file).read_part(part)


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


_NO_VECTOR = Problem("missing_field", f"'{VECTOR}' is empty")
_NULL_NUMBER = Problem("non_finite_vector", f"a number of '{VECTOR}' is missing")


def _parquet_parts(file: VectorFile) -> list[VectorFilePart]:
    """The row groups of a file with `entity_id`, `vector`, and perhaps `extraction`, `group_id`."""
    try:
        with storage.open_bytes(file.path) as source:
            opened = parquet.ParquetFile(source)
            _check_columns(file, opened.schema_arrow)
            rows = [
                opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups)
            ]
    except (pa.ArrowException, EOFError, OSError, UnicodeDecodeError) as error:
        if is_of_system(error):
            raise
        raise CommandError(f"{file.name}: not a whole Parquet file ({error})") from error
    firsts = np.cumsum([1, *rows]).tolist()
    return [VectorFilePart(file, firsts[group], group) for group in range(len(rows))]


def _read_parquet(part: VectorFilePart) -> Iterator[VectorBlock]:
    first = part.first_record
    try:
        with storage.open_bytes(part.file.path) as source:
            file = parquet.ParquetFile(source)
            present = set(file.schema_arrow.names)
            columns = [
                name for name in (ENTITY_ID, VECTOR, EXTRACTION, GROUP_ID) if name in present
            ]
            for batch in file.iter_batches(RECORDS_PER_BLOCK, [part.row_group], columns):
                yield VectorBlock(
                    first,
                    _column_texts(batch, ENTITY_ID),
                    _column_vectors(batch[VECTOR]),
                    _column_texts(batch, EXTRACTION),
                    _column_texts(batch, GROUP_ID),
                )
                first += batch.num_rows
    except (pa.ArrowException, EOFError, OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{part.file.name}: damaged from record {first} on ({error})") from error


def _check_columns(file: VectorFile, schema: pa.Schema) -> None:
    for name in (ENTITY_ID, VECTOR):
        if name not in schema.names:
            raise CommandError(
                f"{file.name}: there is no column '{name}'. Its columns: {', '.join(schema.names)}"
            )
    entity, vector = schema.field(ENTITY_ID).type, schema.field(VECTOR).type
    if not (pa.types.is_integer(entity) or _is_text(entity)):
        raise CommandError(f"{file.name}: '{ENTITY_ID}' is {entity}, not texts or whole numbers")
    is_list = (
        pa.types.is_list(vector)
        or pa.types.is_large_list(vector)
        or pa.types.is_fixed_size_list(vector)
    )
    if not is_list or not (
        pa.types.is_floating(vector.value_type) or pa.types.is_integer(vector.value_type)
    ):
        raise CommandError(f"{file.name}: '{VECTOR}' is {vector}, not a list of numbers")
    for name in (EXTRACTION, GROUP_ID):
        if name in schema.names:
            column_type = schema.field(name).type
            if not (_is_text(column_type) or pa.types.is_integer(column_type)):
                raise CommandError(f"{file.name}: '{name}' is {column_type}, not a text")


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)


def _column_texts(batch: pa.RecordBatch, name: str) -> list[str]:
    if name not in batch.schema.names:
        return [BLANK] * batch.num_rows
    return pc.fill_null(batch[name].cast(pa.string()), BLANK).to_pylist()


def _column_vectors(column: pa.Array) -> list[np.ndarray | Problem]:
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    flat = column.flatten()  # without those of null lists
    numbers = flat.fill_null(0).to_numpy(zero_copy_only=False)
    missing = pc.is_null(flat).to_numpy(zero_copy_only=False)
    vectors: list[np.ndarray | Problem] = []
    start = 0
    for length in lengths.tolist():
        end = start + length
        if not length:
            vectors.append(_NO_VECTOR)
        elif missing[start:end].any():
            vectors.append(_NULL_NUMBER)
        else:
            vectors.append(numbers[start:end])
        start = end
    return vectors


_ID_ARRAYS = (ENTITY_ID, "ids")
_VECTORS_ARRAY = "vectors"


@contextlib.contextmanager
def _npz_archive(file: VectorFile) -> Iterator[zipfile.ZipFile]:
    """The file as an archive; what is wrong with it names the file."""
    try:
        with storage.open_bytes(file.path) as source, zipfile.ZipFile(source) as archive:
            yield archive
    except CommandError:
        raise
    # Of damaged ones zipfile, its decompressors and NumPy's reader of headers raise many
    # kinds, SyntaxError, OverflowError and MemoryError among them.
    except Exception as error:
        if is_of_system(error):
            raise
        raise CommandError(f"{file.name}: not a whole .npz file of vectors ({error})") from error


def _npz_parts(file: VectorFile) -> list[VectorFilePart]:
    """The whole file, of arrays `entity_id` (or `ids`) and `vectors`, as one part."""
    with _npz_archive(file) as archive:
        _id_array(file, archive)
        with archive.open(f"{_VECTORS_ARRAY}.npy") as member:
            shape, _, _ = _array_header(cast(BinaryIO, member))
    if len(shape) != 2:
        raise CommandError(
            f"{file.name}: '{_VECTORS_ARRAY}' has the shape {shape}, not [records, width]"
        )
    return [VectorFilePart(file)]


def _read_npz(part: VectorFilePart) -> Iterator[VectorBlock]:
    """Yields the records; the vectors are decompressed block by block."""
    file = part.file
    with _npz_archive(file) as archive:
        names = {name.removesuffix(".npy") for name in archive.namelist()}
        ids = _array_texts(archive, _id_array(file, archive))
        extractions, groups = (
            _array_texts(archive, name) if name in names else [BLANK] * len(ids)
            for name in (EXTRACTION, GROUP_ID)
        )
        with archive.open(f"{_VECTORS_ARRAY}.npy") as member:
            rows = _array_rows(cast(BinaryIO, member))
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


def _id_array(file: VectorFile, archive: zipfile.ZipFile) -> str:
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    id_names = [name for name in _ID_ARRAYS if name in names]
    if not id_names or _VECTORS_ARRAY not in names:
        raise CommandError(
            f"{file.name}: needs the arrays '{ENTITY_ID}' and '{_VECTORS_ARRAY}'. Its arrays: "
            f"{', '.join(names)}"
        )
    return id_names[0]


def _array_texts(archive: zipfile.ZipFile, name: str) -> list[str]:
    with archive.open(f"{name}.npy") as member:
        values = np.lib.format.read_array(member, allow_pickle=False)
    if values.ndim != 1 or values.dtype.kind not in "iuUS":
        raise ValueError(f"array '{name}' is not a list of texts or whole numbers")
    if values.dtype.kind == "S":
        return [value.decode() for value in values.tolist()]
    return [str(value) for value in values.tolist()]


def _array_rows(member: BinaryIO) -> Iterator[np.ndarray]:
    shape, fortran_order, dtype = _array_header(member)
    if fortran_order:
        columns = np.frombuffer(member.read(), dtype).reshape(shape[::-1])
        for start in range(0, shape[0], RECORDS_PER_BLOCK):
            yield columns[:, start : start + RECORDS_PER_BLOCK].T
        return
    row_bytes = shape[1] * dtype.itemsize
    for start in range(0, shape[0], RECORDS_PER_BLOCK):
        rows = min(RECORDS_PER_BLOCK, shape[0] - start)
        yield np.frombuffer(member.read(rows * row_bytes), dtype).reshape(rows, shape[1])


def _array_header(member: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran_order, dtype = read(member)
    if dtype.kind not in "fiu":
        raise ValueError(f"array '{_VECTORS_ARRAY}' holds {dtype}, not numbers")
    if min(shape, default=0) < 0:
        raise ValueError(f"array '{_VECTORS_ARRAY}' has the shape {shape}")
    return shape, fortran_order, dtype


_READ_BYTES = 1 << 20

_Decoded = tuple[str, np.ndarray | Problem, str, str]


def _read_tfrecord(part: VectorFilePart) -> Iterator[VectorBlock]:
    """Yields the records, `tf.train.Example` as this project writes them."""
    first = part.first_record
    decoded: list[_Decoded] = []
    try:
        for record in records_in(_bytes_of(part.file)):
            decoded.append(_decode(record))
            if len(decoded) == RECORDS_PER_BLOCK:
                yield _decoded_block(first, decoded)
                first, decoded = first + len(decoded), []
    except BrokenRecord as error:
        raise CommandError(
            f"{part.file.name}: record {error.number}: {error}; copy or make the file again"
        ) from error
    if decoded:
        yield _decoded_block(first, decoded)


def _bytes_of(file: VectorFile) -> Iterator[bytes]:
    try:
        with open_input(file.path) as source:
            while data := source.read(_READ_BYTES):
                yield data
    except (CommandError, OSError) as error:
        raise BrokenStream(str(error.__cause__ or error)) from error


def _decoded_block(first: int, decoded: list[_Decoded]) -> VectorBlock:
    ids, vectors, extractions, groups = zip(*decoded, strict=True)
    return VectorBlock(first, ids, vectors, extractions, groups)


def _decode(record: bytes) -> _Decoded:
    try:
        features = decode_example(record)
    except ValueError as error:
        return BLANK, Problem("not_an_object", str(error)), BLANK, BLANK
    try:
        texts = [_feature_text(features, name) for name in (ENTITY_ID, EXTRACTION, GROUP_ID)]
        return texts[0], _feature_vector(features), texts[1], texts[2]
    except RejectedAnswer as error:
        return BLANK, Problem(error.reason, error.detail), BLANK, BLANK


def _feature_text(features: dict[str, Values], name: str) -> str:
    values = features.get(name, [])
    if len(values) > 1 or (len(values) == 1 and not isinstance(values[0], bytes)):
        raise RejectedAnswer("wrong_type", f"feature '{name}' is not one byte string")
    try:
        return values[0].decode() if len(values) else BLANK
    except UnicodeDecodeError as error:
        raise RejectedAnswer("invalid_utf8", f"feature '{name}': {error.reason}") from error


def _feature_vector(features: dict[str, Values]) -> np.ndarray:
    values = features.get(VECTOR)
    if values is None or not len(values):
        raise RejectedAnswer("missing_field", f"there is no feature '{VECTOR}', or it is empty")
    if not isinstance(values, np.ndarray):
        raise RejectedAnswer("wrong_type", f"feature '{VECTOR}' is not a list of numbers")
    return values


class _Format(NamedTuple):
    parts_of: Callable[[VectorFile], list[VectorFilePart]]
    read_part: Callable[[VectorFilePart], Iterator[VectorBlock]]


_FORMATS = {
    ".parquet": _Format(_parquet_parts, _read_parquet),
    ".npz": _Format(_npz_parts, _read_npz),
    ".tfrecord": _Format(lambda file: [VectorFilePart(file)], _read_tfrecord),
    ".tfrecord.gz": _Format(lambda file: [VectorFilePart(file)], _read_tfrecord),
}


def _format_of(file: VectorFile) -> _Format:
    return next(form for end, form in _FORMATS.items() if file.name.endswith(end))
