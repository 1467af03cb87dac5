"""Vectors of encoded texts, kept by the hash of the text, so that no text is encoded twice.

One folder per encoder identity holds immutable Parquet files, each with the vectors that were made
together. A file is named after the first and the last hash prefix in it, so that a worker reads
only what its own texts may be in: `0000-07ff-<hash>.parquet`. Nothing is ever changed in place:
any number of workers and runs may read and add at the same time.
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
_HASH, _VECTOR = "text_sha256", "vector"
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
    order = sorted(range(len(hashes)), key=lambda row: hashes[row])
    ordered = [hashes[row] for row in order]
    values = np.ascontiguousarray(vectors[order])
    width = values.shape[1] * values.itemsize
    table = pa.table(
        {
            _HASH: pa.array(ordered, pa.binary(HASH_BYTES)),
            _VECTOR: pa.FixedSizeBinaryArray.from_buffers(
                pa.binary(width), len(values), [None, pa.py_buffer(values)]
            ),
        }
    ).replace_schema_metadata({_TOKENS: str(tokens)})
    content = io.BytesIO()
    parquet.write_table(
        table,
        content,
        compression="NONE",  # the last bits of a vector are noise
        use_dictionary=False,
        write_page_checksum=True,
    )
    name = hashlib.sha256(b"".join(ordered)).hexdigest()[:16]
    ends = f"{prefix_of(ordered[0]):04x}-{prefix_of(ordered[-1]):04x}"
    with storage.create_bytes(storage.join(folder, f"{ends}-{name}.parquet")) as file:
        file.write(content.getvalue())


def read_vectors(path: str, wanted: Collection[bytes]) -> dict[bytes, np.ndarray]:
    """The vectors of some texts.

    Args:
      path: path or URL of a file.
      wanted: hashes of the texts.

    Returns:
      Hash -> float16 [dimension], for those that the file holds.

    Raises:
      DamagedCacheFile: the file is cut off or changed.
      OSError: it cannot be read at all.
    """
    with storage.open_bytes(path) as file:
        content = file.read()
    try:
        table = parquet.read_table(io.BytesIO(content), page_checksum_verification=True)
        hashes = table[_HASH].combine_chunks().cast(pa.binary(HASH_BYTES))
        column = table[_VECTOR].combine_chunks()
        if not pa.types.is_fixed_size_binary(column.type) or column.null_count:
            raise DamagedCacheFile("'vector' is of another type")
        mine = pc.is_in(hashes, pa.array(sorted(wanted), pa.binary(HASH_BYTES)))
        chosen = hashes.filter(mine).to_pylist()
        data = column.filter(mine).to_pylist()
        return {
            digest: np.frombuffer(vector, np.float16)
            for digest, vector in zip(chosen, data, strict=True)
        }
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise DamagedCacheFile(str(error)) from error


def clear_damaged(path: str) -> None:
    """Puts a file without vectors in the place of a damaged one."""
    empty = pa.table(
        {_HASH: pa.array([], pa.binary(HASH_BYTES)), _VECTOR: pa.array([], pa.binary(2))}
    )
    content = io.BytesIO()
    parquet.write_table(empty, content)
    with storage.create_bytes(path) as file:
        file.write(content.getvalue())
