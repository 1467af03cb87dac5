"""Beam transforms that parse interactions, catalogue and profiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import apache_beam as beam

from configs.raw_data import Catalogue, Data, Profiles
from preprocessing.arrow_bytes import table_to_bytes
from preprocessing.gathering import DEAD_LETTERS, STATISTICS
from preprocessing.interactions.catalogue import parse_catalogue
from preprocessing.interactions.profiles import parse_profiles
from preprocessing.interactions.reading import parse_interactions
from preprocessing.interactions.rejections import (
    REJECTED_CATALOGUE,
    REJECTED_INTERACTIONS,
    REJECTED_PROFILES,
    by_reason,
)
from preprocessing.interactions.user_shards import has_integer_items, rows_by_shard
from preprocessing.tables.blocks import Block
from preprocessing.tables.table_reader import TableReader

INTEGER_ITEMS = "integer_items"
"""Tag of the output that says for each block whether all its item ids are integers."""


class ParseInteractions(beam.DoFn):
    """Block to (shard of the users, table), tagged outputs for everything else."""

    def __init__(self, reader: TableReader, data: Data, shards: int):
        super().__init__()
        self._reader = reader
        self._data = data
        self._shards = shards

    def process(self, element: Block) -> Iterator[Any]:
        """See `beam.DoFn`."""
        for block in self._reader.parse(element):
            table, dead_letters = parse_interactions(block, self._data)
            counts = {"interactions": block.records, REJECTED_INTERACTIONS: by_reason(dead_letters)}
            yield beam.pvalue.TaggedOutput(STATISTICS, counts)
            if dead_letters:
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
            yield beam.pvalue.TaggedOutput(INTEGER_ITEMS, has_integer_items(table))
            yield from rows_by_shard(table, self._shards)


class ParseCatalogue(beam.DoFn):
    """Block to a table, tagged outputs for everything else."""

    def __init__(self, reader: TableReader, catalogue: Catalogue):
        super().__init__()
        self._reader = reader
        self._catalogue = catalogue

    def process(self, element: Block) -> Iterator[Any]:
        """See `beam.DoFn`."""
        for block in self._reader.parse(element):
            table, dead_letters = parse_catalogue(block, self._catalogue)
            counts = {
                "catalogue_records": block.records,
                REJECTED_CATALOGUE: by_reason(dead_letters),
            }
            yield beam.pvalue.TaggedOutput(STATISTICS, counts)
            if dead_letters:
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
            yield table_to_bytes(table)


class ParseProfiles(beam.DoFn):
    """Block to (shard of the users, table), tagged outputs for everything else."""

    def __init__(self, reader: TableReader | None, profiles: Profiles | None, shards: int):
        super().__init__()
        self._reader = reader
        self._profiles = profiles
        self._shards = shards

    def process(self, element: Block) -> Iterator[Any]:
        """See `beam.DoFn`."""
        assert self._reader is not None and self._profiles is not None
        for block in self._reader.parse(element):
            table, dead_letters = parse_profiles(block, self._profiles)
            counts = {"profile_records": block.records, REJECTED_PROFILES: by_reason(dead_letters)}
            yield beam.pvalue.TaggedOutput(STATISTICS, counts)
            if dead_letters:
                yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
            yield from rows_by_shard(table, self._shards)
