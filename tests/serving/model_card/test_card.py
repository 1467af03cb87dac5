from __future__ import annotations

import dataclasses
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from preprocessing.records.contract import REQUEST_FEATURES
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.leak_rule import LeakRule
from preprocessing.records.parsing import example_dataset
from preprocessing.records.tfrecord_file import read_records, write_records
from serving.model_card import card as card_module
from serving.model_card.card import (
    CARD_JSON,
    CARD_MARKDOWN,
    Performance,
    countable_sources,
    data_facts,
    knowledge_facts,
    limits,
    measure,
    model_card,
    privacy,
    to_markdown,
    write_model_card,
)
from tests.runs import WrittenRun, random_model, rich_run, written_run
from tests.scenarios import (
    ITEMS_WITH_ANSWER,
    ITEMS_WITH_GROUP,
    NUM_ITEMS,
    NUM_USERS,
    USERS_WITH_ANSWER,
    copied_scenario,
    list_files_anew,
    rich_scenario,
    tiny_scenario,
)
from tests.serving.proof.synthetic_proof import proof
from trainer.model_kinds import MODEL_KINDS


@pytest.fixture(scope="module")
def measured() -> tuple[WrittenRun, Performance]:
    run = written_run()
    return run, measure(run.scenario, run.model)


def test_the_card_holds_what_was_measured_and_proved(
    measured: tuple[WrittenRun, Performance],
) -> None:
    run, performance = measured
    card = model_card(run.folder, run.scenario, performance, "int8", proof())
    assert card == json.loads(json.dumps(card, allow_nan=False))
    assert card["model"]["run"] == run.folder.path.name
    assert card["model"]["trainable_weights"] == 30
    assert card["training"]["settings"]["learning_rate"] == 0.01
    assert (card["training"]["epochs"], card["training"]["best_epoch"]) == (1, 1)
    assert card["performance"]["metrics"]["auc"] == performance.metrics["auc"]
    assert card["performance"]["intervals"]["auc"]["low"] == performance.intervals["auc"].low
    assert card["proof"]["quality"]["cost"] == pytest.approx(0.0005)
    assert set(card["knowledge"]) == {"item", "user"}
    assert any("(user)" in text for text in card["privacy"])


def test_both_files_are_written_and_hold_no_answer_and_no_history(
    tmp_path: Path, measured: tuple[WrittenRun, Performance]
) -> None:
    run, performance = measured
    path = write_model_card(tmp_path, run.folder, run.scenario, performance, "float32", None)
    assert path == tmp_path / CARD_MARKDOWN
    text = path.read_text()
    assert json.loads((tmp_path / CARD_JSON).read_text())["proof"] is None
    for content in (text, (tmp_path / CARD_JSON).read_text()):
        assert "explosions" not in content
        assert "u17" not in content


def text_of(measured: tuple[WrittenRun, Performance], **changed: Any) -> str:
    run, performance = measured
    collected = dataclasses.replace(performance, **changed)
    return to_markdown(model_card(run.folder, run.scenario, collected, "int8", proof()))


def test_headings_are_the_usual_ones_and_tables_are_even(
    measured: tuple[WrittenRun, Performance],
) -> None:
    lines = text_of(measured).splitlines()
    assert lines[0] == "# films"
    assert [line[3:] for line in lines if line.startswith("## ")] == [
        *("Model", "Intended use and limits", "Data", "Knowledge", "Metrics", "Training"),
        *("Number format", "Privacy and ethics"),
    ]
    tables: list[list[int]] = [[]]
    for line in lines:
        if line.startswith("| "):
            tables[-1].append(line.replace(r"\|", "").count("|"))
        elif tables[-1]:
            tables.append([])
    widths = [set(table) for table in tables if table]
    assert len(widths) == 8
    assert all(len(width) == 1 for width in widths)


def test_figures_stand_with_their_intervals_and_counts(
    measured: tuple[WrittenRun, Performance],
) -> None:
    text = text_of(measured)
    auc = measured[1].intervals["auc"]
    assert f"| AUC | {auc.value:.4f} | {auc.low:.4f} to {auc.high:.4f} |" in text
    assert "of 60 items of the catalogue and the log: individual 40 (66.7 %), group 19" in text
    assert "Measured on the validation part, by which the epoch" in text
    assert "unverified: nothing shows" in text
    assert "Licence of the data: not known" in text
    assert "| cold_item | warm |" in text
    assert (
        "AUC on 8,393 validation rows: 0.750000 of the checkpoint, 0.749500 of the export, so it "
        "costs 0.0005." in text
    )
    # The tiny scenario's answers name no LLM.
    assert "its records name no model" in text


def test_shares_and_sampled_negatives_are_those_of_the_data(
    measured: tuple[WrittenRun, Performance],
) -> None:
    run, performance = measured
    card = model_card(run.folder, run.scenario, performance, "int8", None)
    assert "Split by time within each user, 80 : 10 : 10 %." in to_markdown(card)
    assert "sampled negatives" not in to_markdown(card)
    card["data"]["split"] |= {
        "by": "column",
        "fractions": None,
        "shares": {"train": 0.6, "validation": 0.15, "test": 0.25},
    }
    card["data"]["sampled_negatives"] = 4000
    text = to_markdown(card)
    assert (
        "Split by a column of the interactions, 60.0 % train, 15.0 % validation, 25.0 % test."
    ) in text
    assert "| sampled negatives among the samples | 4,000 |" in text


def test_llms_that_answered_in_anothers_place_are_named(
    measured: tuple[WrittenRun, Performance],
) -> None:
    run, performance = measured
    card = model_card(run.folder, run.scenario, performance, "int8", None)
    card["knowledge"]["item"]["llms"] = {
        "names": {"model-a": 1200, "model-b": 7},
        "asked": {"model-a": {"model-b": 3}},
        "not_read": {},
    }
    assert (
        "| LLM | model-a (1,200 answers, 3 of them where model-b was asked); model-b (7 answers) |"
    ) in to_markdown(card)


def test_it_says_which_part_was_read_and_how_much_of_it(
    measured: tuple[WrittenRun, Performance],
) -> None:
    text = text_of(measured, part="test", is_whole=False)
    assert "Measured on the test part, read for this card" in text
    assert "(the first of the part's files)" in text
    text = text_of(measured, reason="AUC needs samples of both classes")
    assert "Nothing could be measured on the validation part: AUC needs samples of both" in text


def test_without_proof_the_cost_is_unknown(measured: tuple[WrittenRun, Performance]) -> None:
    run, performance = measured
    text = to_markdown(model_card(run.folder, run.scenario, performance, "int8", None))
    assert "No proof was asked for (--proof none), so what that costs is unknown." in text


def test_a_search_has_a_card_too() -> None:
    run = rich_run("two_tower")
    performance = measure(run.scenario, run.model)
    text = to_markdown(model_card(run.folder, run.scenario, performance, "float32", None))
    assert "A retrieval model" in text
    assert "| recall@10 among new items |" in text


def test_every_kind_of_model_has_a_description_and_a_use() -> None:
    assert set(MODEL_KINDS) == {"ctr", "rerank", "retrieval"}
    for texts in (
        {kind.description for kind in MODEL_KINDS.values()},
        {kind.intended_use for kind in MODEL_KINDS.values()},
    ):
        assert all(texts) and len(texts) == 3


@pytest.mark.parametrize("rule", list(LeakRule))
def test_every_result_of_the_leak_check_has_a_text(
    measured: tuple[WrittenRun, Performance], rule: LeakRule
) -> None:
    run, performance = measured
    card = model_card(run.folder, run.scenario, performance, "int8", None)
    card["knowledge"]["item"]["leak_rule"] = rule.value
    name = rule.value.removesuffix("_training")
    assert f"| leak rule | {name}: " in to_markdown(card)


def test_limits_follow_from_the_settings() -> None:
    plain = limits(tiny_scenario(model__adapter="none"), "ctr")
    knowing = limits(tiny_scenario(model__adapter="hein"), "ctr")
    assert len(knowing) == len(plain) + 1
    assert "language model" in knowing[-1]
    listwise = limits(
        rich_scenario(training__list_loss="listwise", model__backbone="prm"), "rerank"
    )
    assert any("share of its list" in text for text in listwise)
    assert not any("probabilities on data" in text for text in listwise)
    weighted = limits(tiny_scenario(training__class_weights=[1, 3]), "ctr")
    assert any("not calibrated" in text for text in weighted)


def test_sampled_items_are_named_and_nobody_is_said_to_have_seen_them() -> None:
    logged = limits(tiny_scenario(), "ctr")[0]
    assert "Those are of items that users came to see" in logged
    by_popularity = {"data__negatives__per_positive": 4, "data__negatives__by": "popularity"}
    drawn = limits(tiny_scenario(**by_popularity), "ctr")[0]
    assert "sampled negatives (4 for each positive sample, by popularity)" in drawn
    lists = limits(rich_scenario(), "rerank")[0]
    assert "sampled items, which fill up the lists (every item alike)" in lists
    for text in (drawn, lists):
        assert "came to see" not in text
        assert "Nobody knows whether the users ever saw the sampled items" in text
    # Retrieval is trained on chosen items alone.
    assert limits(rich_scenario(**by_popularity), "retrieval")[0] == logged


def test_user_ids_are_spoken_of_where_the_export_has_them() -> None:
    tfidf, others = {"kind": "tfidf"}, {"kind": "minilm"}
    knowledge = {
        "item": {"entity": "item", "encoder": tfidf, "made_from": "answers"},
        "user": {"entity": "user", "encoder": others, "made_from": "answers"},
        "user_liked": {"entity": "user", "encoder": None, "made_from": "vectors"},
    }
    without = " ".join(privacy(tiny_scenario(), "ctr", {}))
    having = " ".join(privacy(tiny_scenario(), "ctr", knowledge))
    assert "It holds no user ids, neither raw nor hashed." in without
    assert "assets.extra/refresh" not in without
    assert "no raw ids of items but a 63-bit hash" in without
    assert "users who have user knowledge (user, user_liked) it holds no raw ids but" in having
    assert "says of every item and of these users whether there is an answer" in having
    assert "terms of the TF-IDF encoder (item)" in having
    retrieval_text = " ".join(privacy(tiny_scenario(), "retrieval", {}))
    assert "holds the raw ids of all items" in retrieval_text


def test_links_and_forgotten_ids_are_spoken_of_where_the_export_has_them() -> None:
    links = {"films": {"entity": "item", "encoder": None, "made_from": "links"}}
    linked = " ".join(privacy(tiny_scenario(), "ctr", links))
    assert "(films) assets.extra/refresh/ holds the raw ids and titles of items and" in linked
    assert "no titles" not in linked
    assert "no titles" in " ".join(privacy(tiny_scenario(), "ctr", {}))
    users = {"user": {"entity": "user", "encoder": None, "made_from": "vectors"}}
    assert "--forget-user" in " ".join(privacy(tiny_scenario(), "ctr", users))
    forgotten = Forgotten().with_ids(["u1", "u2"], ["7"]).joined(Forgotten().with_ids(["u3"], []))
    having = " ".join(privacy(tiny_scenario(), "ctr", {}, forgotten))
    assert "forgotten.json has hashes of forgotten ids (users: 3, items: 1)" in having
    assert "no user ids" not in having


def test_profiles_are_spoken_of_where_the_model_reads_them() -> None:
    profiles = " ".join(privacy(rich_scenario(), "ctr", {}))
    assert "(city, age), whose values known at training stand in the graph" in profiles
    without = " ".join(privacy(rich_scenario(model__user_profile=False), "ctr", {}))
    assert "(city, age)" not in without


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
    monkeypatch.setattr(card_module, "MOST_DATED", 200)
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


def test_large_sources_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(card_module, "MOST_RECORDS", 40)
    scenario = tiny_scenario(model__adapter="hein")
    coverage = knowledge_facts(scenario)["item"]["coverage"]
    assert coverage == {
        "of": None,
        "why": "more than 40 records, which were not read again for this card",
    }
    assert countable_sources(scenario) == ["user"]


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


def scored(part: str = "validation") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and users of a part, asked of the model on raw features."""
    run = written_run()
    files = WorkDirectory(run.scenario.work_dir).examples.shards(part)
    (batch,) = example_dataset(files, 4096)
    # The fold of the user is for training, which leaves the user's own ratings out.
    raw = {feature.name: batch[feature.name] for feature in REQUEST_FEATURES}
    scores = run.model.probabilities(raw).numpy()
    return batch["label"].numpy(), scores, batch["user_id"].numpy()


def test_metrics_are_those_of_scikit_learn_inside_their_intervals() -> None:
    run = written_run()
    labels, scores, users = scored()
    actual = measure(run.scenario, run.model)
    assert (actual.part, actual.kind, actual.is_whole, actual.reason) == (
        "validation",
        "ctr",
        True,
        "",
    )
    assert actual.examples == actual.metrics["n"] == len(labels)
    assert actual.resamples == run.scenario.evaluation.bootstrap_resamples == 50
    weighted, counts = [], []
    for user in set(users):
        own = users == user
        if len(set(labels[own])) == 2:
            weighted.append(roc_auc_score(labels[own], scores[own]))
            counts.append(own.sum())
    expected = {
        "auc": roc_auc_score(labels, scores),
        "logloss": log_loss(labels, scores),
        "gauc": np.average(weighted, weights=counts),
        "mean_score_minus_base_rate": scores.mean() - labels.mean(),
    }
    assert set(actual.intervals) == set(expected)
    for name, value in expected.items():
        interval = actual.intervals[name]
        assert interval.value == pytest.approx(value, abs=1e-6), name
        assert interval.low < interval.value < interval.high, name
        if name in actual.metrics:
            assert actual.metrics[name] == pytest.approx(value, abs=1e-6)


def test_slices_divide_the_samples() -> None:
    run = written_run()
    actual = measure(run.scenario, run.model)
    assert set(actual.slices) == {
        *("user_activity", "item_popularity", "cold_user", "cold_item"),
        *("knowledge.item", "knowledge.user"),
    }
    for groups in actual.slices.values():
        assert sum(group["n"] for group in groups.values()) == actual.examples


def test_the_test_part_is_read_where_it_is_asked_for() -> None:
    run = written_run()
    labels, scores, _ = scored("test")
    actual = measure(run.scenario, run.model, "test")
    assert actual.part == "test"
    assert actual.intervals["auc"].value == pytest.approx(roc_auc_score(labels, scores), abs=1e-6)


def test_a_search_is_judged_by_its_recall() -> None:
    run = rich_run("two_tower")
    actual = measure(run.scenario, run.model)
    assert set(actual.intervals) == {"new_items_recall_at_10", "recall_at_10"}
    for name, interval in actual.intervals.items():
        assert interval.value == pytest.approx(actual.metrics[name], abs=1e-9)
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert set(actual.slices) >= {"cold_item", "knowledge.item"}


def test_a_reranker_is_judged_by_its_candidates() -> None:
    run = rich_run("prm")
    actual = measure(run.scenario, run.model)
    assert actual.kind == "rerank"
    assert actual.intervals["auc"].value == pytest.approx(actual.metrics["auc"], abs=1e-9)
    assert "ndcg_at_10" in actual.metrics


def test_a_part_of_one_class_is_not_judged_and_the_reason_kept(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, model__adapter="none")
    for number, file in enumerate(WorkDirectory(scenario.work_dir).examples.shards("validation")):
        write_records(file, [] if number else list(read_records(file))[:1])
    list_files_anew(WorkDirectory(scenario.work_dir).examples)
    actual = measure(scenario, random_model(scenario))
    assert actual.reason == "AUC needs samples of both classes"
    assert (actual.examples, actual.intervals, actual.metrics) == (1, {}, {})
