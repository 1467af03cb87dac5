"""GZIP TFRecord files: written under a temporary name and moved into place, read with every check.

Record framing (https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details):
length (uint64), masked CRC32C of the length, data, masked CRC32C of the data; little endian.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import google_crc32c

from preprocessing import storage
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.provenance import ForeignFile, is_written_by_step
from preprocessing.records.wire import decode_example

_GZIP_WINDOW = 31  # zlib's code for a gzip frame; the header it writes has no name and time 0
_COMPRESSION_LEVEL = 1
_WRITE_BYTES = 1 << 20
_READ_BYTES = 1 << 20
_BLOCK_BYTES = 4 << 20
_LENGTH_BYTES = 12
_CRC_BYTES = 4


def masked_crc32c(data: bytes) -> int:
    """CRC32C, rotated right by 15 bits plus a constant, as TFRecord files store it."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_records(path: str | Path, records: Iterable[bytes]) -> int:
    """Writes a GZIP TFRecord file; equal records give equal bytes.

    Args:
      path: the file, a path or URL; its folder is made. A local file appears complete or not at
        all.
      records: serialized records.

    Returns:
      The number of records.
    """
    length_header = functools.cache(_length_header)
    compressor = zlib.compressobj(_COMPRESSION_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)
    count = 0
    pending: list[bytes] = []
    pending_bytes = 0
    with storage.create_bytes(str(path)) as file:
        for record in records:
            pending += (
                length_header(len(record)),
                record,
                struct.pack("<I", masked_crc32c(record)),
            )
            pending_bytes += len(record)
            count += 1
            if pending_bytes > _WRITE_BYTES:
                file.write(compressor.compress(b"".join(pending)))
                pending, pending_bytes = [], 0
        file.write(compressor.compress(b"".join(pending)))
        file.write(compressor.flush())
    return count


def read_records(path: Path) -> Iterator[bytes]:
    """Reads a GZIP TFRecord file record by record.

    Raises:
      DamagedRecords: the file is missing, cut off, not GZIP, or a checksum is wrong; the message
        names the file and the record, counted from 1.
    """
    try:
        yield from records_in(_decompressed_blocks(path))
    except BrokenRecord as error:
        raise _damaged(path, f"record {error.number}", str(error)) from error


class BrokenStream(Exception):
    """The bytes of a file cannot be read to their end; the message says why."""


class BrokenRecord(Exception):
    """A record is not what was written; the message says why.

    Attributes:
      number: which record, counted from 1.
    """

    def __init__(self, number: int, problem: str):
        super().__init__(problem)
        self.number = number


def records_in(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Takes the records out of the uncompressed bytes of a TFRecord file.

    Args:
      blocks: the bytes in blocks of any size; raises BrokenStream where they end too early.

    Raises:
      BrokenRecord: a record is cut off, or a checksum is wrong.
    """
    buffer = bytearray()
    number = 1
    while True:
        try:
            block = next(blocks, None)
        except BrokenStream as error:
            raise BrokenRecord(number, str(error)) from error
        if block is None:
            break
        buffer += block
        start = 0
        while len(buffer) - start >= _LENGTH_BYTES:
            length, length_crc = struct.unpack_from("<QI", buffer, start)
            if masked_crc32c(bytes(buffer[start : start + 8])) != length_crc:
                raise BrokenRecord(number, "the checksum of its length is wrong")
            data_start = start + _LENGTH_BYTES
            data_end = data_start + length
            if len(buffer) < data_end + _CRC_BYTES:
                break
            record = bytes(buffer[data_start:data_end])
            if masked_crc32c(record) != struct.unpack_from("<I", buffer, data_end)[0]:
                raise BrokenRecord(number, "the checksum of its data is wrong")
            yield record
            number += 1
            start = data_end + _CRC_BYTES
        del buffer[:start]
    if buffer:
        raise BrokenRecord(number, "the record is cut off")


def check_intact(path: Path) -> None:
    """Checks a TFRecord file before TensorFlow reads it, which takes some damage for the end.

    A file in a step's folder must be the one that its manifest lists; every checksum in any other
    file must be right. A file that did not change since it was last found intact is not read again.

    Raises:
      DamagedRecords: the file is missing, cut off, damaged, not GZIP, or not the one that the step
        wrote. The message names the file, and the record where one is damaged.
    """
    try:
        if is_written_by_step(path):
            return
    except ForeignFile:
        _require_examples(path)  # Where a record is damaged, that says more than a checksum.
        raise
    try:
        status = path.stat()
    except OSError as error:
        raise _damaged(path, "file", error.strerror or str(error)) from error
    _check_records_once(path, status.st_size, status.st_mtime_ns)


def _require_examples(path: Path) -> None:
    for number, record in enumerate(read_records(path), start=1):
        try:
            decode_example(record)
        except ValueError as error:
            raise _damaged(path, f"record {number}", str(error)) from error


@functools.lru_cache(maxsize=4096)
def _check_records_once(path: Path, size: int, modified: int) -> None:
    del size, modified
    for _ in read_records(path):
        pass


def _decompressed_blocks(path: Path) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(_GZIP_WINDOW)
    try:
        with path.open("rb") as file:
            while compressed := file.read(_READ_BYTES):
                while compressed:
                    yield decompressor.decompress(compressed, _BLOCK_BYTES)
                    compressed = decompressor.unconsumed_tail or decompressor.unused_data
                    if decompressor.eof and compressed:
                        decompressor = zlib.decompressobj(_GZIP_WINDOW)
    except OSError as error:
        raise BrokenStream(error.strerror or str(error)) from error
    except zlib.error as error:
        raise BrokenStream(f"not valid GZIP data ({error})") from error
    if not decompressor.eof:
        raise BrokenStream("the file is cut off")


def _length_header(length: int) -> bytes:
    encoded = struct.pack("<Q", length)
    return encoded + struct.pack("<I", masked_crc32c(encoded))


def _damaged(path: Path, location: str, problem: str) -> DamagedRecords:
    return DamagedRecords(
        f"{path}: {location}: {problem}; run the preprocessing step again with --force"
    )
