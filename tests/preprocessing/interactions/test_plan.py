from __future__ import annotations

import pytest

from preprocessing.interactions.reading import open_interactions
from preprocessing.interactions.shard import shards_of_log


@pytest.mark.parametrize(("megabytes", "shards"), [(16, 2), (1, 3)])
def test_a_shard_for_so_many_megabytes_and_two_at_least(
    small_scenario, small_folder, megabytes, shards
):
    line = "bob,10,4.0,100\n"
    log = "user_id,item_id,rating,timestamp\n" + line * ((2 << 20) // len(line) + 1)
    (small_folder / "interactions.csv").write_text(log)
    scenario = small_scenario(data__shard_megabytes=megabytes)
    reader = open_interactions(scenario.data, scenario.split)
    assert shards_of_log(reader, scenario.data) == shards
