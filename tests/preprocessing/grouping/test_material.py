from __future__ import annotations

from pathlib import Path

import pytest

from configs.loading import load_scenario
from configs.scenario import Scenario
from preprocessing.dead_letters import DeadLetterRuns, count_by_reason
from preprocessing.examples import build_examples
from preprocessing.grouping.features import Material, read_material
from preprocessing.interactions.catalogue import open_catalogue
from preprocessing.interactions.reading import open_interactions
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import decode_example
from tests.scenarios import write_tiny_inputs

Pairs = set[tuple[str, str]]


def material_of(scenario: Scenario, folder: Path) -> Material:
    log = open_interactions(scenario.data, scenario.split)
    catalogue = open_catalogue(scenario.data.catalogue)
    return read_material(scenario, log, catalogue, folder, DeadLetterRuns(folder / "letters"))


def known_pairs(scenario: Scenario, folder: Path) -> Pairs:
    known = material_of(scenario, folder).known
    users, items = known.user_ids.to_pylist(), known.item_ids.to_pylist()
    rows = zip(known.user_of_row.tolist(), known.item_of_row.tolist(), strict=True)
    return {(users[user], items[item]) for user, item in rows}


def sample_pairs(scenario: Scenario) -> Pairs:
    examples = WorkDirectory(scenario.work_dir).examples
    decoded = [
        decode_example(record)
        for part in PARTS
        for path in examples.shards(part)
        for record in read_records(path)
    ]
    return {(row["user_id"][0].decode(), row["item_id"][0].decode()) for row in decoded}


def test_tables_are_read_and_nothing_is_left_behind(small_scenario, tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    material = material_of(small_scenario(), folder)
    assert material.records == {"interactions": 18, "catalogue": 5}
    assert material.items.ids.to_pylist() == ["10", "100", "200", "7", "9"]
    assert material.known.item_ids.equals(material.items.ids)
    assert list(folder.iterdir()) == []
    letters = tmp_path / "dead_letters.jsonl"
    material.dead_letters.write(letters)
    assert count_by_reason(letters) == {
        small_scenario().data.interactions.path: {"duplicate_interaction": 1}
    }


@pytest.mark.parametrize("minimum", [1, 30])
def test_no_known_interaction_is_a_sample_whatever_the_filter_leaves(tmp_path, minimum):
    config = write_tiny_inputs(tmp_path)
    unfiltered = [
        "split.knowledge_history_cap=30",
        "knowledge.sources=[item]",
        "knowledge.answers={item: {entity: item, individual: [none.jsonl]}}",
    ]
    filtered = [*unfiltered, f"data.filter.minimum_item_interactions={minimum}"]
    scenario = load_scenario(config, filtered)
    counts = build_examples(scenario)
    known, samples = known_pairs(scenario, tmp_path), sample_pairs(scenario)
    assert known and samples and not known & samples
    # each interaction that is left was known or is a sample: both count the same k_u
    assert len(known) == counts["history_only"] and len(samples) == counts["samples"]
    if minimum > 1:
        assert known_pairs(load_scenario(config, unfiltered), tmp_path) & samples
