from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from serving.model_card import card
from serving.model_card.card import data_facts
from tests.scenarios import NUM_ITEMS, NUM_USERS, copied_scenario, rich_scenario, tiny_scenario


def test_counts_are_those_of_the_files() -> None:
    scenario = tiny_scenario()
    facts = data_facts(scenario, "ctr")
    examples = WorkDirectory(scenario.work_dir).examples
    for part in ("train", "validation", "test"):
        batches = list(example_dataset(examples.shards(part), 512))
        assert facts["examples"][part] == sum(len(batch["label"]) for batch in batches)
        assert facts["positives"][part] == sum(
            int(batch["label"].numpy().sum()) for batch in batches
        )
        times = [time for batch in batches for time in batch["timestamp"].numpy().tolist()]
        days = [datetime.fromtimestamp(time, UTC).date().isoformat() for time in times]
        assert facts["dates"][part] == {"first": min(days), "last": max(days)}
    assert (facts["users"], facts["items"]) == (NUM_USERS, NUM_ITEMS)
    assert facts["split"] == {
        "by": scenario.split.by,
        "fractions": list(scenario.split.fractions),
        "shares": {
            part: count / sum(facts["examples"].values())
            for part, count in facts["examples"].items()
        },
        "knowledge_history_cap": 10,
    }
    assert facts["sampled_negatives"] == 0
    assert facts["rejected_interactions"] == 1
    assert facts["leak_violations"] == 0
    assert facts["licence"] is None


def test_where_a_column_splits_the_data_only_true_shares_are_told(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, split__by="column")
    manifest = WorkDirectory(scenario.work_dir).examples.manifest
    tree = json.loads(manifest.read_text())
    tree["counts"]["examples"]["ctr"] = {"train": 600, "validation": 150, "test": 250}
    tree["counts"]["sampled_negatives"] = 400
    manifest.write_text(json.dumps(tree))
    facts = data_facts(scenario, "ctr")
    assert facts["split"]["fractions"] is None
    assert facts["split"]["shares"] == {"train": 0.6, "validation": 0.15, "test": 0.25}
    assert facts["sampled_negatives"] == 400


def test_lists_and_searches_have_counts_of_their_own() -> None:
    scenario = rich_scenario()
    assert data_facts(scenario, "rerank")["positives"] is None
    counts = {kind: data_facts(scenario, kind)["examples"]["train"] for kind in ("rerank", "ctr")}
    assert counts["rerank"] < counts["ctr"]


def test_parts_too_large_to_read_have_no_dates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card, "_MOST_DATED", 200)
    dates = data_facts(tiny_scenario(), "ctr")["dates"]
    assert dates["train"] is None
    assert dates["test"] is not None


def test_a_licence_beside_the_interactions_is_named(tmp_path: Path) -> None:
    (tmp_path / "LICENSE.md").write_text("\n# Open data, version 1\n\nDo as you like.\n")
    scenario = tiny_scenario(data__interactions__path=str(tmp_path / "ratings.csv"))
    assert data_facts(scenario, "ctr")["licence"] == {
        "file": str(tmp_path / "LICENSE.md"),
        "begins": "Open data, version 1",
    }
