from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from serving.model_card.card import countable_sources, data_facts, knowledge_facts
from tests.scenarios import (
    ITEMS_WITH_ANSWER,
    ITEMS_WITH_GROUP,
    NUM_ITEMS,
    NUM_USERS,
    USERS_WITH_ANSWER,
    copied_scenario,
    rich_scenario,
    tiny_scenario,
)


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


def test_parts_too_large_to_read_have_no_dates() -> None:
    dates = data_facts(tiny_scenario(), "ctr", most_dated=200)["dates"]
    assert dates["train"] is None
    assert dates["test"] is not None


def test_a_licence_beside_the_interactions_is_named(tmp_path: Path) -> None:
    (tmp_path / "LICENSE.md").write_text("\n# Open data, version 1\n\nDo as you like.\n")
    scenario = tiny_scenario(data__interactions__path=str(tmp_path / "ratings.csv"))
    assert data_facts(scenario, "ctr")["licence"] == {
        "file": str(tmp_path / "LICENSE.md"),
        "begins": "Open data, version 1",
    }


def test_who_is_covered_is_counted_over_what_the_data_knows() -> None:
    facts = knowledge_facts(tiny_scenario(model__adapter="hein"))
    assert set(facts) == {"item", "user"}
    items, users = facts["item"], facts["user"]
    # Items that only the answers know are records, but none of the catalogue.
    assert items["records"] == {
        "individual": len(ITEMS_WITH_ANSWER) + 1,
        "group": len(ITEMS_WITH_GROUP) + 1,
        "rejected_answers": 2,
    }
    assert items["coverage"] == {
        "of": "items of the catalogue and the log",
        "total": NUM_ITEMS,
        "individual": len(ITEMS_WITH_ANSWER),
        "group": len(ITEMS_WITH_GROUP),
        "missing": NUM_ITEMS - len(ITEMS_WITH_ANSWER) - len(ITEMS_WITH_GROUP),
    }
    assert users["coverage"] == {
        "of": "users of the vocabulary",
        "total": NUM_USERS,
        "individual": len(USERS_WITH_ANSWER),
        "group": 0,
        "missing": NUM_USERS - len(USERS_WITH_ANSWER),
    }
    assert (items["entity"], items["made_from"], items["dimension"]) == ("item", "answers", 12)
    assert items["encoder"]["kind"] == "tfidf"
    assert (items["leak_rule"], users["leak_rule"]) == ("unverified", "verified")


def test_large_sources_are_not_read_again() -> None:
    scenario = tiny_scenario(model__adapter="hein")
    coverage = knowledge_facts(scenario, most_records=40)["item"]["coverage"]
    assert coverage == {
        "of": None,
        "why": "more than 40 records, which were not read again for this card",
    }
    assert countable_sources(scenario, most_records=40) == ["user"]


def test_vectors_without_answers_have_no_llm() -> None:
    scenario = rich_scenario(
        model__adapter="hein", knowledge__sources=["plain", "user"], model__match="ridge"
    )
    facts = knowledge_facts(scenario)
    assert (facts["plain"]["made_from"], facts["plain"]["llms"]) == ("metadata", None)
    assert set(facts) == {"plain", "user", "item"}


def test_llms_are_those_that_the_records_name(tmp_path: Path) -> None:
    lines = [
        {"entity_id": "1", "answer": "a", "model": "model-a"},
        {"entity_id": "2", "answer": "b", "model": "model-b"},
        {"entity_id": "3", "answer": "c", "model": "model-a", "asked_model": "model-b"},
        {"entity_id": "4", "answer": "d"},
        # The output of a batch names the model that answered in the response's body.
        {"custom_id": "item/5", "response": {"body": {"model": "model-c", "choices": []}}},
        {"custom_id": "item/6", "response": None, "error": {"code": "server_error"}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    named, unnamed, gone = (tmp_path / name for name in ("a.jsonl.gz", "b.jsonl", "c.jsonl"))
    with gzip.open(named, "wt") as file:
        file.write(text)
    unnamed.write_text('{"1": {"ans": "a"}}')
    answers = {"item": {"individual": [str(named), str(unnamed)], "collective": [str(gone)]}}
    scenario = tiny_scenario(
        model__adapter="hein",
        **{f"knowledge__answers__item__{key}": value for key, value in answers["item"].items()},
    )
    assert knowledge_facts(scenario)["item"]["llms"] == {
        "names": {"model-a": 2, "model-b": 1, "model-c": 1},
        "asked": {"model-a": {"model-b": 1}},
        "not_read": {str(unnamed): "its records name no model", str(gone): "not at hand"},
    }


def test_a_file_that_changed_says_nothing_about_the_vectors(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, model__adapter="hein")
    manifest = Path(scenario.work_dir) / "knowledge" / "user" / "manifest.json"
    tree = json.loads(manifest.read_text())
    (file,) = tree["inputs"]
    manifest.write_text(json.dumps({**tree, "inputs": {file: "0" * 64}}))
    llms = knowledge_facts(scenario)["user"]["llms"]
    assert llms == {"names": {}, "asked": {}, "not_read": {file: "changed since it was encoded"}}


def test_groups_that_the_configuration_declares_are_not_called_verified(tmp_path: Path) -> None:
    scenario = copied_scenario(
        tmp_path, model__adapter="hein", knowledge__answers__item__groups_verified=True
    )
    manifest = Path(scenario.work_dir) / "examples" / "manifest.json"
    tree = json.loads(manifest.read_text())
    check = tree["counts"]["leak_check"]
    check |= {"unverified_sources": [], "declared_sources": {"item": "first_interactions"}}
    manifest.write_text(json.dumps(tree))
    assert knowledge_facts(scenario)["item"]["leak_rule"] == "declared"
    check["declared_sources"] = {"item": "training"}
    manifest.write_text(json.dumps(tree))
    assert knowledge_facts(scenario)["item"]["leak_rule"] == "declared_training"
    del tree["counts"]["leak_check"]
    manifest.write_text(json.dumps(tree))
    assert knowledge_facts(scenario)["user"]["leak_rule"] == "unverified"
