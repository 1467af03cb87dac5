"""Vectors of encoded texts, kept by the hash of the text, so that no text is encoded twice.

One folder per encoder identity holds immutable Parquet files, each with the vectors that were made
together. A file is named after the first and the last hash prefix in it, so that a worker reads
only what its own texts may be in: `0000-07ff-<hash>.parquet`. Nothing is ever changed in place:
any number of workers and runs may read and add at the same time. A file that is gone was merged
into another one (`vector_merging`).
"""

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
    found = []
    for path in storage.matching_files(storage.join(start, "*.parquet")):
        match = _FILE_NAME.fullmatch(path.rsplit("/", 1)[-1])
        if match:
            found.append(CacheFile(path, int(match[1], 16), int(match[2], 16)))
    return found


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
