from __future__ import annotations

from dataclasses import replace

from tests.trainer.report.synthetic import helpful_report
from trainer.bootstrap import Difference
from trainer.report.cells import Cell
from trainer.report.slices import COLD, PopularitySlice
from trainer.report.table import (
    Table,
    as_markdown,
    main_table,
    run_table,
    slice_table,
    step_table,
)

BETTER = Difference(0.8, 0.812, 0.012, 0.0101, 0.0139)


def cell(knowledge: str, difference: Difference | None) -> Cell:
    return Cell("din", knowledge, (0.8, 0.81), 0.805, 0.51234, 0.70005, 0.79, 0.82, difference)


def test_the_main_table() -> None:
    table = main_table([cell("none", None), cell("hein_match", BETTER)])
    assert table.rows == [
        ("din", "none", "0.8050", "0.5123", "0.7000", "–", "–"),
        (
            "din",
            "hein_match",
            "0.8050",
            "0.5123",
            "0.7000",
            "+0.0120 [+0.0101, +0.0139]",
            "+1.50 %",
        ),
    ]


def test_a_loss_shows_its_sign() -> None:
    worse = Difference(0.8, 0.796, -0.004, -0.006, 0.002)
    assert main_table([cell("hein", worse)]).rows[0][-2:] == (
        "-0.0040 [-0.0060, +0.0020]",
        "-0.50 %",
    )


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
