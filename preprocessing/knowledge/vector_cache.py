"""Vectors of encoded texts, kept by the hash of the text, so that no text is encoded twice."""

from __future__ import annotations

import glob
import hashlib
import io
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from preprocessing import storage

_SMALL_TEXTS = 1024
_FILES_PER_MERGE = 48
_TEXTS_PER_MERGE = 8192


class SmallFiles:
    """Small files of one range of hashes on their way into larger ones.

    Memory holds at most `_TEXTS_PER_MERGE` texts more than one small file has. Each merged file
    is complete before the files in it are deleted: whenever a run breaks off, every vector lies
    somewhere, at worst twice.
    """

    def __init__(self, folder: str, first: int, last: int):
        """Starts with no file.

        Args:
          folder: path or URL of the encoder's folder.
          first: lowest hash prefix of the range. Files that reach out of the range are left alone:
            another worker may be reading them.
          last: highest prefix.
        """
        self._folder = folder
        self._first = first
        self._last = last
        self._tables: dict[str, pa.Table] = {}
        self._texts = 0

    def add(self, file: CacheFile, table: pa.Table) -> None:
        """Takes a file that was read; merges as soon as there are enough."""
        inside = self._first <= file.first and file.last <= self._last
        if not inside or not 0 < len(table) < _SMALL_TEXTS:
            return
        self._tables[file.path] = table
        self._texts += len(table)
        if len(self._tables) == _FILES_PER_MERGE or self._texts >= _TEXTS_PER_MERGE:
            self._merge()

    def _merge(self) -> None:
        tables, self._tables, self._texts = self._tables, {}, 0
        if len({table.schema.field(VECTOR).type for table in tables.values()}) > 1:
            return  # vectors of several widths, which whoever uses them has to complain about
        together = pa.concat_tables(tables.values())
        together = together.group_by(HASH, use_threads=False).aggregate([(VECTOR, "first")])
        together = together.select([HASH, f"{VECTOR}_first"]).rename_columns([HASH, VECTOR])
        kept = file_of(self._folder, sorted(together[HASH].to_pylist()))
        # A run that broke off may have left it: then it lies among the merged files.
        if kept not in tables:
            write_table(self._folder, together, sum(map(tokens_of, tables.values())))
        for path in tables:
            if path != kept:
                storage.delete_file(path)


PREFIXES = 1 << 16
"""Hashes are ordered by their first two bytes."""

HASH_BYTES = 32
_FILE_NAME = re.compile(r"([0-9a-f]{4})-([0-9a-f]{4})-[0-9a-f]{16}\.parquet")
HASH, VECTOR = "text_sha256", "vector"
"""Columns of a file."""

_TOKENS = b"tokens"
_DESCRIPTION = "encoder.json"


class DamagedCacheFile(Exception):
    """A file of the cache is not what was written; the message says why."""


@dataclass(frozen=True)
class CacheFile:
    """One file.

    Attributes:
      path: path or URL.
      first: lowest prefix of its hashes.
      last: highest prefix.
    """

    path: str
    first: int
    last: int


def text_hash(text: str) -> bytes:
    """SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).digest()


def prefix_of(digest: bytes) -> int:
    """Place of a hash among `PREFIXES`."""
    return int.from_bytes(digest[:2], "big")


def identity_hash(identity: Mapping[str, Any]) -> str:
    """Name of the folder of an encoder."""
    document = json.dumps(identity, sort_keys=True)
    return f"{identity['kind']}-{hashlib.sha256(document.encode()).hexdigest()[:16]}"


def describe_encoder(folder: str, identity: Mapping[str, Any]) -> None:
    """Writes down for people whose vectors a folder holds."""
    with storage.create_bytes(storage.join(folder, _DESCRIPTION)) as file:
        file.write(json.dumps(identity, indent=2, sort_keys=True).encode() + b"\n")


def list_cache(folder: str) -> list[CacheFile]:
    """The files of a folder, in order of their names; none when there is no folder."""
    start = folder if storage.is_url(folder) else glob.escape(folder)
    entries = []
    for path in storage.matching_files(storage.join(start, "*.parquet")):
        match = _FILE_NAME.fullmatch(path.rsplit("/", 1)[-1])
        if match:
            entries.append(CacheFile(path, int(match[1], 16), int(match[2], 16)))
    return entries


def write_vectors(
    folder: str, hashes: Sequence[bytes], vectors: np.ndarray, tokens: int = 0
) -> None:
    """Adds a file.

    Args:
      folder: path or URL of the encoder's folder.
      hashes: [texts] hash of each text, at least one.
      vectors: [texts, dimension] float16.
      tokens: what a paid service counted for them; kept with the file.
    """
    values = np.ascontiguousarray(vectors)
    width = values.shape[1] * values.itemsize
    table = pa.table(
        {
            HASH: pa.array(hashes, pa.binary(HASH_BYTES)),
            VECTOR: pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(width), len(values), [None, pa.py_buffer(values)]
            ),
        }
    )
    write_table(folder, table, tokens)


def file_of(folder: str, hashes: Sequence[bytes]) -> str:
    """Where the vectors of some texts lie when they are one file; the hashes are sorted."""
    name = hashlib.sha256(b"".join(hashes)).hexdigest()[:16]
    ends = f"{prefix_of(hashes[0]):04x}-{prefix_of(hashes[-1]):04x}"
    return storage.join(folder, f"{ends}-{name}.parquet")


def write_table(folder: str, table: pa.Table, tokens: int) -> None:
    """Adds a file with the columns `HASH` and `VECTOR`, rows in any order."""
    table = table.take(pc.sort_indices(table[HASH]))
    table = table.replace_schema_metadata({_TOKENS: str(tokens)})
    content = io.BytesIO()
    parquet.write_table(
        table,
        content,
        compression="NONE",  # the last bits of a vector are noise
        use_dictionary=False,
        write_page_checksum=True,
    )
    with storage.create_bytes(file_of(folder, table[HASH].to_pylist())) as file:
        file.write(content.getvalue())


def read_table(path: str) -> pa.Table:
    """A file's columns `HASH` and `VECTOR`.

    Args:
      path: path or URL.

    Raises:
      DamagedCacheFile: the file is cut off or changed.
      OSError: it cannot be read at all.
    """
    with storage.open_bytes(path) as file:
        content = file.read()
    try:
        table = parquet.read_table(io.BytesIO(content), page_checksum_verification=True)
        hashes = table[HASH].cast(pa.binary(HASH_BYTES))
        vectors = table[VECTOR]
        if not pa.types.is_fixed_size_binary(vectors.type) or vectors.null_count:
            raise DamagedCacheFile("'vector' is of another type")
        return pa.table({HASH: hashes, VECTOR: vectors}, metadata=table.schema.metadata)
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DamagedCacheFile(str(error)) from error


def tokens_of(table: pa.Table) -> int:
    """What a paid service counted for the texts of a file that was read."""
    return int((table.schema.metadata or {}).get(_TOKENS, 0))


def select_vectors(table: pa.Table, wanted: Collection[bytes]) -> dict[bytes, np.ndarray]:
    """The vectors of some texts.

    Args:
      table: a file that was read.
      wanted: hashes of the texts.

    Returns:
      Hash -> float16 [dimension], for those that the file holds.
    """
    mine = table.filter(pc.is_in(table[HASH], pa.array(sorted(wanted), pa.binary(HASH_BYTES))))
    rows = zip(mine[HASH].to_pylist(), mine[VECTOR].to_pylist(), strict=True)
    return {digest: np.frombuffer(vector, np.float16) for digest, vector in rows}


def clear_damaged(path: str) -> None:
    """Puts a file without vectors in the place of a damaged one."""
    empty = pa.table(
        {HASH: pa.array([], pa.binary(HASH_BYTES)), VECTOR: pa.array([], pa.binary(2))}
    )
    content = io.BytesIO()
    parquet.write_table(empty, content)
    with storage.create_bytes(path) as file:
        file.write(content.getvalue())
