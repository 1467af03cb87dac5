"""The Beam pipeline from the log to its training interactions, as in the step `examples`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import pyarrow as pa
from typing_extensions import override

from preprocessing import storage
from preprocessing.arrow_bytes import concatenate
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.beam_sinks import (
    DEAD_LETTERS,
    GatherDeadLetters,
    gather_statistics,
    read_statistics,
    total,
)
from preprocessing.dead_letters import count_by_reason
from preprocessing.interactions.filtering import FilteredLog, filter_log, read_filtered_log
from preprocessing.interactions.k_core import read_table, write_table
from preprocessing.interactions.reading import INTERACTION_SCHEMA, USER
from preprocessing.interactions.sequences import (
    TimeCuts,
    order_interactions,
    ordered_by,
    split_interactions,
)
from preprocessing.interactions.shard import LogPlan, Shard
from preprocessing.interactions.training_log import (
    TrainingLog,
    collect_training_log,
    marked_interactions,
)
from preprocessing.interactions.transforms import (
    as_singleton,
    find_time_cuts,
    in_every_shard,
    read_log,
)

_NO_PROFILES = pa.schema({USER: pa.string()}).empty_table()


@dataclass(frozen=True)
class TrainingLogResult:
    """What reading the log gave.

    Attributes:
      log: the training interactions.
      counts: `records_in` interactions were read; `records_out`, `filtered_out` and `dead_letters`
        add up to them.
      dead_letters: JSON lines file of rejected rows.
    """

    log: TrainingLog
    counts: dict[str, Any]
    dead_letters: str


def read_training_log(plan: LogPlan, beam_options: BeamOptions) -> TrainingLogResult:
    """Reads the log; the result is in the memory of this process.

    Args:
      plan: what to read. Its folder takes scratch files and the dead letters.
      beam_options: runner and options.
    """
    options = beam_options.for_input(plan.interactions.stored_bytes)
    filtered = None
    if not plan.data.filter.keeps_everything:
        filtered = filter_log(plan, storage.join(plan.folder, "filter"), options)
    letters = storage.join(plan.folder, "interactions.jsonl")
    counts = storage.join(plan.folder, "interactions.json")
    run_pipeline(
        lambda pipeline: build_training_log_pipeline(pipeline, plan, filtered, letters, counts),
        options,
    )
    statistics = read_statistics(counts) + (filtered.statistics if filtered else [])
    reasons: dict[str, int] = {}
    for by_reason in count_by_reason(letters).values():
        for reason, count in by_reason.items():
            reasons[reason] = reasons.get(reason, 0) + count
    described: dict[str, Any] = {
        "records_in": total(statistics, "interactions"),
        "records_out": total(statistics, "ordered"),
        "filtered_out": total(statistics, "filtered_out"),
        "dead_letters": sum(reasons.values()),
        "rejected_by_reason": dict(sorted(reasons.items())),
        "training_interactions": total(statistics, "training"),
    }
    accounted = ("records_out", "filtered_out", "dead_letters")
    if described["records_in"] != sum(described[name] for name in accounted):
        raise AssertionError(f"interactions were lost or counted twice: {described}")
    tables = (read_table(_marked_file(plan.folder, shard)) for shard in range(plan.shards))
    return TrainingLogResult(collect_training_log(tables), described, letters)


class OrderUsers(beam.DoFn):
    """All rows of a shard to `Shard`, interactions in order."""

    def __init__(self, plan: LogPlan):
        super().__init__()
        self._plan = plan

    @override
    def process(
        self, element: tuple[int, Iterable[bytes]], integer_items: bool
    ) -> Iterator[Shard | beam.pvalue.TaggedOutput]:
        shard, parts = element
        sequences, dead_letters = order_interactions(
            concatenate(parts, INTERACTION_SCHEMA),
            self._plan.interactions.names,
            integer_items,
            ordered_by(self._plan.data.interactions.columns),
        )
        if dead_letters:
            yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield Shard(shard, self._plan.shards, sequences, (), _NO_PROFILES)


class WriteMarked(beam.DoFn):
    """Shard to a file of its interactions, training interactions marked; yields counts."""

    def __init__(self, plan: LogPlan):
        super().__init__()
        self._plan = plan

    @override
    def process(self, element: Shard, cuts: TimeCuts | None) -> Iterator[dict[str, int]]:
        sequences = element.sequences
        training = split_interactions(sequences, self._plan.split, cuts).training
        path = _marked_file(self._plan.folder, element.index)
        write_table(path, marked_interactions(sequences, training))
        yield {"ordered": len(training), "training": int(training.sum())}


def build_training_log_pipeline(
    pipeline: beam.Pipeline,
    plan: LogPlan,
    filtered: FilteredLog | None,
    dead_letters_path: str,
    statistics_path: str,
) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to read.
      filtered: what `data.filter` left; None reads the log itself.
      dead_letters_path: JSON lines file for rejected rows.
      statistics_path: JSON file for counts "interactions", "ordered", "training".
    """
    log = (
        read_log(pipeline, plan)
        if filtered is None
        else read_filtered_log(pipeline, plan, filtered.files, filtered.integer_items)
    )
    ordered = (
        in_every_shard(pipeline, log.interactions, plan)
        | "ByShard" >> beam.GroupByKey()
        | "OrderUsers"
        >> beam.ParDo(OrderUsers(plan), beam.pvalue.AsSingleton(log.integer_items)).with_outputs(
            DEAD_LETTERS, main="shards"
        )
    )
    cuts = find_time_cuts(ordered["shards"], plan.split)
    written = ordered["shards"] | "WriteMarked" >> beam.ParDo(WriteMarked(plan), as_singleton(cuts))
    (log.dead_letters, ordered[DEAD_LETTERS]) | "DeadLetters" >> GatherDeadLetters(
        dead_letters_path
    )
    (log.statistics, written) | "Statistics" >> gather_statistics(statistics_path)


def _marked_file(folder: str, shard: int) -> str:
    return storage.join(folder, f"marked-{shard:05d}.arrow")
