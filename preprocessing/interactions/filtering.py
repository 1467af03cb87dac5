"""The k-core filter (`data.filter`): a loop of pipelines over scratch files.

One pipeline reads the log, stores it by shard and numbers the items. Then each round is a pipeline
that counts what is left of every shard and adds the counts up; this process decides which items
stay and whether another round is needed. The pipeline that writes the examples reads the stored
shards and leaves out what fell out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from configs.command_line import say
from configs.raw_data import InteractionFilter
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.gathering import read_statistics, total
from preprocessing.interactions.filter_files import FilterFiles, read_counts, write_kept_items
from preprocessing.interactions.filter_pipelines import (
    build_coding_pipeline,
    build_round_pipeline,
)
from preprocessing.interactions.k_core import KeptCounts, find_kept_items
from preprocessing.interactions.plan import LogPlan


@dataclass(frozen=True)
class FilteredLog:
    """The log by shard, and what of it is left.

    Attributes:
      files: the scratch files.
      integer_items: True when all item ids of the whole log are integers.
      statistics: counts of reading the log.
      unfiltered: users, items and interactions of the whole log.
      rounds: the same numbers after each round; the last one says what is left.
    """

    files: FilterFiles
    integer_items: bool
    statistics: list[dict[str, Any]]
    unfiltered: dict[str, int]
    rounds: list[dict[str, int]]


def filter_log(plan: LogPlan, folder: str, beam: BeamOptions) -> FilteredLog:
    """Reads the log and finds out what `data.filter` leaves.

    Args:
      plan: what to read, and into how many shards.
      folder: for scratch files, an absolute path or URL that all workers see.
      beam: runner and options.
    """
    files = FilterFiles(folder)
    run_pipeline(lambda pipeline: build_coding_pipeline(pipeline, plan, files), beam)
    statistics = read_statistics(files.statistics)
    (integer_items,) = (entry["integer_items"] for entry in statistics if "integer_items" in entry)
    settings = plan.data.filter

    def count(mask: np.ndarray, minimum: InteractionFilter | None) -> KeptCounts:
        write_kept_items(files, mask)
        run_pipeline(
            lambda pipeline: build_round_pipeline(pipeline, plan.shards, files, minimum), beam
        )
        return read_counts(files)

    everything = np.ones(total(statistics, "numbered_items"), dtype=bool)
    kept = find_kept_items(count(everything, None), lambda mask: count(mask, settings), settings)
    left = kept.rounds[-1]
    say(
        f"data.filter keeps {left['interactions']:,} of {kept.unfiltered['interactions']:,} "
        f"interactions, {left['users']:,} users and {left['items']:,} items, in "
        f"{len(kept.rounds)} rounds"
    )
    return FilteredLog(files, integer_items, statistics, kept.unfiltered, kept.rounds)
