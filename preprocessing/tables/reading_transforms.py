"""Beam transforms that read tables.

A file, or a part of a Parquet file, is one element; the blocks of lines in it are the next ones, so
all workers parse however few files there are.
"""

from __future__ import annotations

from collections.abc import Iterator

import apache_beam as beam
from typing_extensions import override

from preprocessing.tables.blocks import Block, FilePart
from preprocessing.tables.table_reader import TableReader


class ReadTable(beam.PTransform):
    """All blocks of a table, spread over the workers.

    Args:
      reader: the table; None has no blocks.
    """

    def __init__(self, reader: TableReader | None):
        super().__init__()
        self._reader = reader

    @override
    def expand(self, pipeline: beam.Pipeline) -> beam.PCollection:
        reader = self._reader
        return (
            pipeline
            | "Parts" >> beam.Create([] if reader is None else list(reader.parts), reshuffle=False)
            | "SpreadParts" >> beam.Reshuffle()
            | "ReadBlocks" >> beam.FlatMap(_blocks, reader)
            | "SpreadBlocks" >> beam.Reshuffle()  # one file is one element: let all workers parse
        )


def _blocks(part: FilePart, reader: TableReader) -> Iterator[Block]:
    return reader.read_part(part)
