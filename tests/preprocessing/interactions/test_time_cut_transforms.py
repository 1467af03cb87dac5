from __future__ import annotations

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from configs.data import Split
from preprocessing.interactions.shard import Shard
from preprocessing.interactions.transforms import as_singleton, find_time_cuts
from tests.preprocessing.interactions.made_interactions import interaction_table, sequences_of

HOUR = 3600
NO_PROFILES = pa.table({"user": pa.array([], pa.string())})


def shard(index: int, user: str, hours: list[int]) -> Shard:
    rows = [(user, f"i{hour}", 5.0, hour * HOUR) for hour in hours]
    return Shard(index, 2, sequences_of(interaction_table(*rows)), (), NO_PROFILES)


def test_cuts_count_the_samples_of_all_shards():
    split = Split(by="global_time", fractions=(0.5, 0.25, 0.25), knowledge_history_cap=0)
    shards = [shard(0, "a", [1, 2, 3, 9]), shard(1, "b", [4, 5, 6, 7])]
    with beam.Pipeline(FnApiRunner()) as pipeline:
        cuts = find_time_cuts(pipeline | beam.Create(shards), split)
        # Half of the samples lie in hours 1 to 4, three quarters in hours 1 to 6.
        assert_that(cuts, equal_to([(5 * HOUR, 7 * HOUR)]))


def test_other_splits_have_no_cuts():
    assert find_time_cuts(None, Split(by="user")) is None
    assert as_singleton(None) is None
