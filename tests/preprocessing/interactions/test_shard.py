from __future__ import annotations

import pyarrow as pa

from configs.scenario import Data, Split
from preprocessing.interactions.item_statistics import items_of
from preprocessing.interactions.reading import INTERACTION_SCHEMA
from preprocessing.interactions.seen_counts import SeenCount
from preprocessing.interactions.shard import write_shard
from preprocessing.records.layout import ExamplesDirectory
from preprocessing.records.tfrecord_file import read_records

DATA = Data.model_validate({"interactions": {"path": "i.csv"}, "catalogue": {"path": "c.csv"}})


def test_files_statistics_and_counts_belong_together(tmp_path):
    rows = [("u", str(item), 4.0, item, item + 2) for item in range(12)]
    rows += [("v", "3", 1.0, 5, 14), ("v", "3", 1.0, 5, 15)]
    table = pa.table(
        [list(column) for column in zip(*rows, strict=True)], schema=INTERACTION_SCHEMA
    )
    directory = ExamplesDirectory(tmp_path)
    result = write_shard(
        table,
        [SeenCount("user", "u", 0, 1, 4), SeenCount("taste", "u", 0, 1, 0)],
        integer_items=True,
        data=DATA,
        split=Split(knowledge_history_cap=2),
        directory=directory,
        index=1,
        count=3,
    )
    assert result.statistics["samples"] == {"train": 8, "validation": 1, "test": 1}
    assert result.statistics["history_only"] == 3
    assert result.statistics["leaks"]["violations"] == 2  # u saw 4, samples start at 2
    assert result.statistics["leaks"]["uncounted_answers"] == {"taste": 1}
    assert result.users == {"u": 10, "v": 1}
    assert len(items_of(result.items)) == 12
    assert [letter["line"] for letter in result.dead_letters] == [15]
    for part, count in result.statistics["samples"].items():
        assert len(list(read_records(directory.shard(part, 1, 3)))) == count
