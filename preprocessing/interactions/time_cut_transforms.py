"""Beam transforms that find where the parts of split.by=global_time end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import apache_beam as beam

from configs.raw_data import Split
from preprocessing.interactions.shard import Shard
from preprocessing.interactions.time_cuts import count_sample_hours, time_cuts


class CountSampleHours(beam.DoFn):
    """Shard to the number of its samples by hour."""

    def __init__(self, split: Split):
        super().__init__()
        self._split = split

    def process(self, element: Shard) -> Iterator[Counter[int]]:
        """See `beam.DoFn`."""
        yield count_sample_hours(element.sequences, self._split)


def find_time_cuts(shards: beam.PCollection, split: Split) -> beam.PCollection | None:
    """Where the parts end: one `TimeCuts`; None for splits that need none.

    Args:
      shards: `Shard` of all users.
      split: configuration of the split.
    """
    if split.by != "global_time":
        return None
    return (
        shards
        | "CountSampleHours" >> beam.ParDo(CountSampleHours(split))
        | "AddUpHours" >> beam.CombineGlobally(_add_up)
        | "TimeCuts" >> beam.Map(time_cuts, split)
    )


def as_singleton(collection: beam.PCollection | None) -> beam.pvalue.AsSingleton | None:
    """A side input with one element, or none at all."""
    return None if collection is None else beam.pvalue.AsSingleton(collection)


def _add_up(counters: Iterable[Counter[int]]) -> Counter[int]:
    total: Counter[int] = Counter()
    for counter in counters:
        total.update(counter)
    return total
