"""Small files of kept vectors become larger ones, so that a folder never holds very many.

An encoder that takes eight texts at a time leaves a file for every eight. The worker that looks
texts up reads all files of its range of hashes anyway, and merges the small ones among them.
"""

from __future__ import annotations

import pyarrow as pa

from preprocessing import storage
from preprocessing.knowledge.vector_cache import (
    HASH,
    VECTOR,
    CacheFile,
    file_of,
    tokens_of,
    write_table,
)

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
