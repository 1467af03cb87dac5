from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from preprocessing.records.leak_rule import LeakRule
from serving.model_card.card import (
    CARD_JSON,
    CARD_MARKDOWN,
    Performance,
    limits,
    measure,
    model_card,
    privacy,
    to_markdown,
    write_model_card,
)
from tests.runs import WrittenRun, rich_run, written_run
from tests.scenarios import rich_scenario, tiny_scenario
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
        "item": {"entity": "item", "encoder": tfidf},
        "user": {"entity": "user", "encoder": others},
        "user_liked": {"entity": "user", "encoder": None},
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


def test_profiles_are_spoken_of_where_the_model_reads_them() -> None:
    profiles = " ".join(privacy(rich_scenario(), "ctr", {}))
    assert "(city, age), whose values known at training stand in the graph" in profiles
    without = " ".join(privacy(rich_scenario(model__user_profile=False), "ctr", {}))
    assert "(city, age)" not in without
