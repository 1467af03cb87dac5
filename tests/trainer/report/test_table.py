from __future__ import annotations

from dataclasses import replace

import pytest

from tests.trainer.report.synthetic import helpful_report
from trainer.experiments.results import Comparison
from trainer.report.cells import Cell
from trainer.report.table import (
    COLD,
    PopularitySlice,
    Table,
    as_markdown,
    cost_table,
    lift_text,
    main_table,
    run_table,
    slice_table,
    step_table,
    value_text,
)
from trainer.significance import Difference

BETTER = Difference(0.8, 0.812, 0.012, 0.0101, 0.0139, seed_error=0.0004)


def cell(knowledge: str, difference: Difference | None, adjusted_p: float = 0.004) -> Cell:
    comparison = (
        None if difference is None else Comparison("din", knowledge, difference, adjusted_p)
    )
    return Cell(
        backbone="din",
        knowledge=knowledge,
        metric="auc",
        means={"auc": 0.805, "logloss": 0.51234, "gauc": 0.70005},
        seed_values=(0.8, 0.81),
        low=0.79,
        high=0.82,
        comparison=comparison,
        train_seconds=12.25,
        epochs=3.5,
        trainable_weights=123_456,
    )


def test_the_main_table() -> None:
    table = main_table([cell("none", None), cell("hein_match", BETTER)])
    assert table.rows == [
        ("din", "none", "0.8050", "0.5123", "0.7000", "0.0071", "–", "–", "–"),
        (
            "din",
            "hein_match",
            "0.8050",
            "0.5123",
            "0.7000",
            "0.0071",
            "+0.0120 [+0.0101, +0.0139] **",
            "+1.50 %",
            "0.004",
        ),
    ]


def test_a_loss_shows_its_sign() -> None:
    worse = Difference(0.8, 0.796, -0.004, -0.006, 0.002)
    assert main_table([cell("hein", worse, adjusted_p=0.31)]).rows[0][-3:] == (
        "-0.0040 [-0.0060, +0.0020]",
        "-0.50 %",
        "0.310",
    )


def test_the_main_table_names_the_metrics_of_its_kind() -> None:
    of_lists = replace(cell("none", None), metric="ndcg_at_10", means={"ndcg_at_10": 0.4, "auc": 1})
    assert main_table([of_lists]).header[2:6] == (
        "NDCG@10",
        "AUC",
        "Seeds’ deviation",
        "NDCG@10 difference [95 % interval]",
    )


def test_a_lift_over_nothing_is_no_number() -> None:
    assert lift_text(Difference(0.0, 0.1, 0.1, 0.05, 0.2)) == "–"


def test_the_cost_table() -> None:
    table = cost_table([cell("none", None), cell("hein", BETTER)], [None, 61.7])
    assert table.rows == [
        ("din", "none", "123,456", "3.5", "12.2", "–"),
        ("din", "hein", "123,456", "3.5", "12.2", "62"),
    ]
    assert len(table.header) == 6


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00123456, "0.001235"), (512, "512"), ([200, 80], "[200, 80]"), ("adam", "adam")],
)
def test_settings_are_shown_shortly(value: object, text: str) -> None:
    assert value_text(value) == text


def test_the_slice_table_says_where_samples_are_too_few() -> None:
    table = slice_table(
        [
            PopularitySlice("din", "hein", COLD, 1234, 99, BETTER),
            PopularitySlice("din", "hein", COLD, 7, 5, None),
        ]
    )
    assert table.rows[0][2:7] == ("0 (cold)", "1,234", "99", "0.8000", "0.8120")
    assert table.rows[1][2:] == ("0 (cold)", "7", "5", *["too few"] * 4)


def test_the_run_table_has_every_run_once() -> None:
    report = helpful_report()
    rows = run_table(report).rows
    assert [row[:3] for row in rows[:4]] == [
        ("din", "none", "1"),
        ("din", "none", "2"),
        ("din", "none", "3"),
        ("din", "hein", "1"),
    ]
    assert len(rows) == len(report.experiment.runs)
    assert rows[0][4] == f"{report.experiment.runs[0].test['auc']:.4f}"


def test_the_step_table_says_whether_counts_add_up() -> None:
    report = helpful_report()
    lossy = {**report.steps[0], "records_out": 3100}
    table = step_table([*report.steps, lossy])
    assert table.rows[1] == ("examples", "12.9", "100,004", "100,000", "18,680", "4", "yes", "–")
    assert [row[-2] for row in table.rows] == ["yes", "yes", "no, +7"]


def test_the_step_table_says_what_was_not_repeated() -> None:
    first, second = helpful_report().steps
    table = step_table([{**first, "skipped": True}, {**second, "reused": 1200}, first])
    assert [row[-1] for row in table.rows] == [
        "unchanged, not repeated",
        "1,200 of 100,000 reused",
        "–",
    ]


def test_all_rows_have_a_text_per_column() -> None:
    report = helpful_report()
    for table in (run_table(report), step_table(report.steps)):
        assert {len(row) for row in table.rows} == {len(table.header)}


def test_markdown_aligns_figures_to_the_right_and_escapes_bars() -> None:
    table = Table(("Name", "AUC"), [("a|b", "0.5"), ("c", "0.6")], text_columns=1)
    assert as_markdown(table) == ("| Name | AUC |\n| --- | ---: |\n| a\\|b | 0.5 |\n| c | 0.6 |\n")


def test_a_report_without_steps_has_an_empty_table() -> None:
    assert step_table(replace(helpful_report(), steps=[]).steps).rows == []
