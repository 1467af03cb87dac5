from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from serving.model_card.card import Performance, measure, model_card
from serving.model_card.markdown import to_markdown
from tests.runs import WrittenRun, rich_run, written_run
from tests.serving.proof.made_up import proof


@pytest.fixture(scope="module")
def measured() -> tuple[WrittenRun, Performance]:
    run = written_run()
    return run, measure(run.scenario, run.model)


def text_of(measured: tuple[WrittenRun, Performance], **changed: Any) -> str:
    run, performance = measured
    found = dataclasses.replace(performance, **changed)
    return to_markdown(model_card(run.folder, run.scenario, found, "int8", proof()))


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
