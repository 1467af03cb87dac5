from __future__ import annotations

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that, equal_to

from configs.data import Data, Split
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS
from preprocessing.interactions.catalogue import open_catalogue, open_profiles
from preprocessing.interactions.pipeline import catalogue_rows, profiles_by_shard
from preprocessing.interactions.reading import open_interactions, table_from_bytes
from preprocessing.interactions.shard import Shard
from preprocessing.interactions.transforms import (
    INTEGER_ITEMS,
    as_singleton,
    find_time_cuts,
    interactions_by_shard,
)
from preprocessing.tables.reading_transforms import ReadTable
from tests.preprocessing.interactions.synthetic_interactions import interaction_table, sequences_of
from tests.preprocessing.small_data import bucket_of


@pytest.fixture
def data(tmp_path) -> Data:
    contents = {
        "log1.csv": "user_id,item_id,rating,timestamp\nann,1,4,5\nbob,2,3,6\n,3,4,7\n",
        "log2.csv": "user_id,item_id,rating,timestamp\nann,x,4,8\n",
        "items.csv": "item_id,title\n1,One\n,None\n",
        "users.csv": "user_id,job\nann,cook\nbad\n",
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    return Data.model_validate(
        {
            "interactions": {"path": str(tmp_path / "log*.csv")},
            "catalogue": {"path": str(tmp_path / "items.csv")},
            "profiles": {
                "path": str(tmp_path / "users.csv"),
                "attributes": {"job": {"kind": "categorical"}},
            },
        }
    )


def reasons(letters: list[dict]) -> list[str]:
    return [letter["reason"] for letter in letters]


def test_interactions_go_to_the_shard_of_their_user(data):
    reader = open_interactions(data, Split())
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        parsed = (
            pipeline
            | ReadTable(reader)
            | beam.FlatMap(interactions_by_shard, reader, data, 3).with_outputs(
                STATISTICS, DEAD_LETTERS, INTEGER_ITEMS, main="tables"
            )
        )
        rows = parsed["tables"] | beam.FlatMap(
            lambda pair: [
                (pair[0], row["user"], row["item"], row["file"], row["line"])
                for row in table_from_bytes(pair[1]).to_pylist()
            ]
        )
        expected = [("ann", "1", 0, 2), ("bob", "2", 0, 3), ("ann", "x", 1, 2)]
        assert_that(
            rows, equal_to([(bucket_of(row[0], "shard", 3), *row) for row in expected]), "rows"
        )
        counts = [
            {"interactions": 3, "rejected_interactions": {"missing_user_id": 1}},
            {"interactions": 1, "rejected_interactions": {}},
        ]
        assert_that(parsed[STATISTICS], equal_to(counts), "counts")
        assert_that(parsed[INTEGER_ITEMS], equal_to([True, False]), "integers")
        letters = parsed[DEAD_LETTERS] | "Reasons" >> beam.Map(reasons)
        assert_that(letters, equal_to([["missing_user_id"]]), "letters")


def test_catalogue_and_profiles_are_counted_too(data):
    catalogue = open_catalogue(data.catalogue)
    profiles = open_profiles(data.profiles)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        items = (
            pipeline
            | "Items" >> ReadTable(catalogue)
            | beam.FlatMap(catalogue_rows, catalogue, data.catalogue).with_outputs(
                STATISTICS, DEAD_LETTERS, main="tables"
            )
        )
        users = (
            pipeline
            | "Users" >> ReadTable(profiles)
            | beam.FlatMap(profiles_by_shard, profiles, data.profiles, 3).with_outputs(
                STATISTICS, DEAD_LETTERS, main="tables"
            )
        )
        titles = items["tables"] | beam.Map(
            lambda table: table_from_bytes(table)["title"][0].as_py()
        )
        assert_that(titles, equal_to(["One"]), "titles")
        item_counts = {"catalogue_records": 2, "rejected_catalogue": {"missing_item_id": 1}}
        assert_that(items[STATISTICS], equal_to([item_counts]), "item counts")
        assert_that(
            items[DEAD_LETTERS] | "ItemReasons" >> beam.Map(reasons),
            equal_to([["missing_item_id"]]),
            "item letters",
        )
        jobs = users["tables"] | "Jobs" >> beam.Map(
            lambda pair: (pair[0], table_from_bytes(pair[1])["job"][0].as_py())
        )
        assert_that(jobs, equal_to([(bucket_of("ann", "shard", 3), ["cook"])]), "jobs")
        user_counts = {"profile_records": 2, "rejected_profiles": {"wrong_column_count": 1}}
        assert_that(users[STATISTICS], equal_to([user_counts]), "user counts")
        assert_that(
            users[DEAD_LETTERS] | "UserReasons" >> beam.Map(reasons),
            equal_to([["wrong_column_count"]]),
            "user letters",
        )


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
