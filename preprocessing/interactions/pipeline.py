"""The Beam pipeline from interactions and catalogue to examples.

Elements are batches: blocks of CSV lines, Arrow tables as bytes, whole shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.scenario import Data, Knowledge, Split
from preprocessing.arrow_bytes import concatenate, table_from_bytes, table_to_bytes
from preprocessing.csv_blocks import CsvBlock, read_blocks
from preprocessing.gathering import DEAD_LETTERS, STATISTICS, gather_dead_letters, gather_statistics
from preprocessing.hashing import stable_hashes
from preprocessing.interactions import leak_check
from preprocessing.interactions.catalogue import parse_catalogue
from preprocessing.interactions.reading import (
    INTERACTION_SCHEMA,
    ITEM,
    USER,
    parse_integers,
    parse_interactions,
)
from preprocessing.interactions.seen_counts import SeenCount, read_seen_counts
from preprocessing.interactions.shard import write_shard
from preprocessing.interactions.summary import write_summary
from preprocessing.records.layout import ExamplesDirectory

INTEGER_ITEMS = "integer_items"
ITEMS = "items"
USERS = "users"


@dataclass(frozen=True)
class ExamplesPlan:
    """Everything the pipeline needs to know.

    Attributes:
      data: configuration of the data.
      split: configuration of the split.
      knowledge: where the answers are whose prompts are counted.
      interaction_header: column names of the interaction file.
      catalogue_header: column names of the catalogue.
      shards: number of TFRecord files per part.
      folder: where everything is written.
    """

    data: Data
    split: Split
    knowledge: Knowledge
    interaction_header: list[str]
    catalogue_header: list[str]
    shards: int
    folder: Path


class ReadCsv(beam.DoFn):
    """Path of a CSV file to blocks of lines."""

    def process(self, element: str) -> Iterable[CsvBlock]:
        """See `beam.DoFn`."""
        yield from read_blocks(element)


class ParseInteractions(beam.DoFn):
    """Block of lines to (shard, table), tagged outputs for everything else."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: CsvBlock) -> Iterator[Any]:
        """See `beam.DoFn`."""
        plan = self._plan
        table, dead_letters, records = parse_interactions(
            element, plan.interaction_header, plan.data.interactions.columns
        )
        yield beam.pvalue.TaggedOutput(STATISTICS, {"interactions": records})
        if dead_letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        integers = pc.all(pc.is_valid(parse_integers(table[ITEM]))).as_py()
        yield beam.pvalue.TaggedOutput(INTEGER_ITEMS, integers is not False)
        shards = _shard_of_rows(table, plan.shards)
        for shard in np.unique(shards):
            yield int(shard), table_to_bytes(table.filter(pa.array(shards == shard)))


class ReadSeenCounts(beam.DoFn):
    """Name of an answer source to (shard, what prompts about the shard's users showed)."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: str) -> Iterator[Any]:
        """See `beam.DoFn`."""
        knowledge, shards = self._plan.knowledge, self._plan.shards
        pattern = leak_check.counted_sources(knowledge)[element]
        for batch in read_seen_counts(element, knowledge.answers[element], pattern):
            by_shard: dict[int, list[SeenCount]] = {}
            hashes = stable_hashes([count.user for count in batch], "shard")
            for count, shard in zip(batch, (hashes % np.uint64(shards)).tolist(), strict=True):
                by_shard.setdefault(shard, []).append(count)
            yield from by_shard.items()


class WriteShard(beam.DoFn):
    """All interactions of a shard to TFRecord files."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    def process(
        self, element: tuple[int, dict[str, Iterable]], integer_items: bool
    ) -> Iterator[Any]:
        """See `beam.DoFn`."""
        index, grouped = element
        plan = self._plan
        result = write_shard(
            concatenate(grouped["interactions"], INTERACTION_SCHEMA),
            [count for batch in grouped["seen"] for count in batch],
            integer_items,
            plan.data,
            plan.split,
            ExamplesDirectory(plan.folder),
            index,
            plan.shards,
        )
        yield beam.pvalue.TaggedOutput(STATISTICS, result.statistics)
        if result.dead_letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, result.dead_letters)
        yield beam.pvalue.TaggedOutput(USERS, result.users)
        yield index, table_to_bytes(result.items)


class ParseCatalogue(beam.DoFn):
    """Block of catalogue lines to a table."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: CsvBlock) -> Iterator[Any]:
        """See `beam.DoFn`."""
        table, dead_letters, records = parse_catalogue(
            element, self._plan.catalogue_header, self._plan.data.catalogue
        )
        yield beam.pvalue.TaggedOutput(STATISTICS, {"catalogue_records": records})
        if dead_letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield table_to_bytes(table)


class WriteSummary(beam.DoFn):
    """Catalogue and statistics of all shards to item attributes and vocabularies."""

    def __init__(self, plan: ExamplesPlan):
        super().__init__()
        self._plan = plan

    def process(self, element: tuple[int, dict[str, Iterable]]) -> Iterator[Any]:
        """See `beam.DoFn`."""
        grouped = element[1]
        statistics, dead_letters = write_summary(
            map(table_from_bytes, grouped["catalogue"]),
            {shard: table_from_bytes(data) for shard, data in grouped[ITEMS]},
            grouped[USERS],
            self._plan.data.catalogue,
            ExamplesDirectory(self._plan.folder),
        )
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield statistics


def build_pipeline(pipeline: beam.Pipeline, plan: ExamplesPlan, statistics_path: Path) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to do.
      statistics_path: JSON file for the counts of all shards.
    """
    parsed = (
        pipeline
        | "InteractionFile" >> beam.Create([plan.data.interactions.path])
        | "ReadInteractions" >> beam.ParDo(ReadCsv())
        | "SpreadInteractions" >> beam.Reshuffle()  # one file is one element: let all workers parse
        | "ParseInteractions"
        >> beam.ParDo(ParseInteractions(plan)).with_outputs(
            STATISTICS, DEAD_LETTERS, INTEGER_ITEMS, main="tables"
        )
    )
    seen = (
        pipeline
        | "AnswerSources" >> beam.Create(sorted(leak_check.counted_sources(plan.knowledge)))
        | "CountSeen" >> beam.ParDo(ReadSeenCounts(plan))
    )
    # Every shard gets a file, so each number appears once with no interactions.
    nothing = (
        pipeline
        | "AllShards" >> beam.Create(range(plan.shards))
        | "NoInteractions"
        >> beam.Map(lambda shard: (shard, table_to_bytes(INTERACTION_SCHEMA.empty_table())))
    )
    interactions = (parsed["tables"], nothing) | "Interactions" >> beam.Flatten()
    integer_items = parsed[INTEGER_ITEMS] | "AllIntegerItems" >> beam.CombineGlobally(all)
    written = (
        {"interactions": interactions, "seen": seen}
        | "ByShard" >> beam.CoGroupByKey()
        | "WriteShards"
        >> beam.ParDo(WriteShard(plan), beam.pvalue.AsSingleton(integer_items)).with_outputs(
            STATISTICS, DEAD_LETTERS, USERS, main=ITEMS
        )
    )
    catalogue = (
        pipeline
        | "CatalogueFile" >> beam.Create([plan.data.catalogue.path])
        | "ReadCatalogue" >> beam.ParDo(ReadCsv())
        | "ParseCatalogue"
        >> beam.ParDo(ParseCatalogue(plan)).with_outputs(STATISTICS, DEAD_LETTERS, main="tables")
    )
    together = {"catalogue": catalogue["tables"], ITEMS: written[ITEMS], USERS: written[USERS]}
    summary = (
        {
            name: values | f"Key {name}" >> beam.Map(lambda value: (0, value))
            for name, values in together.items()
        }
        | "Together" >> beam.CoGroupByKey()
        | "WriteSummary" >> beam.ParDo(WriteSummary(plan)).with_outputs(DEAD_LETTERS, main="counts")
    )
    outputs = (parsed, written, catalogue, summary)
    tuple(output[DEAD_LETTERS] for output in outputs) | "DeadLetters" >> gather_dead_letters(
        ExamplesDirectory(plan.folder).dead_letters
    )
    (
        parsed[STATISTICS],
        written[STATISTICS],
        catalogue[STATISTICS],
        summary["counts"],
    ) | "Statistics" >> gather_statistics(statistics_path)


def _shard_of_rows(table: pa.Table, shards: int) -> np.ndarray:
    encoded = table[USER].combine_chunks().dictionary_encode()
    hashes = stable_hashes(encoded.dictionary.to_pylist(), "shard")
    return (hashes % np.uint64(shards)).astype(np.int64)[encoded.indices.to_numpy()]
