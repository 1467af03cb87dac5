from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.trainer.report.synthetic import helpful_report, tuned_report
from trainer.experiments.results import Comparison, ExperimentResult
from trainer.inspection import GateWeights
from trainer.report.inputs import ReportInputs
from trainer.report.plots import (
    NARROW,
    WIDE,
    Layout,
    colour_of,
    draw_legend,
    gate_figure,
    image_source,
    learning_figure,
    marker_of,
    panel_grid,
    popularity_figure,
    quality_figure,
    source_colour_of,
    tuning_figure,
)
from trainer.report.sentences import mark
from trainer.report.statistics import popularity_slices, result_cells
from trainer.significance import Difference

ARMS = ["none", "a", "b", "c", "d"]


def one_line(layout: Layout) -> Figure:
    figure, (axes,) = panel_grid(1, 1.0, layout)
    axes.plot([1, 2], [3, 4], label="line")
    draw_legend(figure, layout)
    return figure


def test_an_image_is_an_svg_that_is_the_same_every_time() -> None:
    source = image_source(one_line)
    kind, _, content = source.partition(",")
    assert kind == "data:image/svg+xml;base64"
    assert b"<svg" in base64.b64decode(content)
    assert image_source(one_line) == source


@pytest.mark.parametrize(
    "style_of",
    [
        lambda names, name: colour_of(names, name, "none"),
        lambda names, name: marker_of(names, name, "none"),
        source_colour_of,
    ],
)
def test_series_differ_in_colour_and_in_marker(style_of) -> None:
    assert len({style_of(ARMS, arm) for arm in ARMS}) == len(ARMS)


def test_many_series_differ_in_colour_or_in_marker() -> None:
    arms = [f"arm{number}" for number in range(31)]
    styles = {(colour_of(arms, arm, arms[3]), marker_of(arms, arm, arms[3])) for arm in arms}
    assert len(styles) == len(arms)


def test_the_baseline_looks_the_same_wherever_it_stands() -> None:
    assert colour_of(["a", "none"], "none", "none") == colour_of(ARMS, "c", "c")
    assert marker_of(["a", "none"], "a", "none") == marker_of(ARMS, "a", "none")


@pytest.mark.parametrize(("count", "axes_made"), [(1, 1), (2, 2), (3, 4), (5, 6)])
def test_a_grid_has_the_panels_asked_for(count: int, axes_made: int) -> None:
    figure, panels = panel_grid(count, panel_height=2.0)
    assert len(panels) == count
    assert len(figure.axes) == axes_made


@pytest.mark.parametrize(
    "draw",
    [
        learning_figure,
        lambda report, layout: quality_figure(report, result_cells(report), layout),
        lambda report, layout: popularity_figure(report, popularity_slices(report), layout),
        lambda report, layout: gate_figure(report.gates, layout),
        lambda _, layout: tuning_figure(tuned_report(), layout),
    ],
)
def test_on_a_phone_panels_stand_below_each_other(
    draw: Callable[[ReportInputs, Layout], Figure],
) -> None:
    report = helpful_report()
    wide, narrow = draw(report, WIDE), draw(report, NARROW)
    assert len(narrow.axes) == len(wide.axes) > 1
    assert {axes.get_subplotspec().colspan.start for axes in narrow.axes} == {0}
    assert narrow.get_figwidth() == 4.4 and narrow.get_figheight() > wide.get_figheight()
    for there, here in zip(wide.axes, narrow.axes, strict=True):
        assert [line.get_xydata().tolist() for line in there.lines] == [
            line.get_xydata().tolist() for line in here.lines
        ]


def test_a_legend_names_every_series_once() -> None:
    figure, panels = panel_grid(2, panel_height=2.0)
    for axes in panels:
        axes.plot([1], [1], label="twice")
    panels[1].plot([1], [2], label="once")
    draw_legend(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["twice", "once"]


def test_a_figure_without_series_has_no_legend() -> None:
    figure, _ = panel_grid(1, panel_height=2.0)
    draw_legend(figure)
    assert figure.legends == []


def test_learning_curves_show_every_seed_and_the_mean_while_all_of_them_train() -> None:
    report = helpful_report()
    runs = report.experiment.runs_of("din", "none")
    only_these = replace(report, experiment=ExperimentResult(runs, []))
    auc, loss = learning_figure(only_these).axes
    assert (auc.get_ylabel(), loss.get_ylabel()) == ("validation AUC", "training loss (nats)")
    for axes, quantity in ((auc, "validation_auc"), (loss, "train_loss")):
        curves = [[row[quantity] for row in run.history] for run in runs]
        drawn = [list(line.get_ydata()) for line in axes.lines]
        assert [curve for curve in curves if curve not in drawn] == []
        common = min(map(len, curves))
        mean = np.mean([curve[:common] for curve in curves], axis=0)
        assert any(
            len(line) == common and np.allclose(line, mean, rtol=0, atol=1e-12) for line in drawn
        )


def test_the_epoch_that_was_kept_is_marked() -> None:
    report = helpful_report()
    run = report.experiment.runs[0]
    auc, loss = learning_figure(replace(report, experiment=ExperimentResult([run], []))).axes
    best = max(run.history, key=lambda row: row["validation_auc"])
    for axes, quantity in ((auc, "validation_auc"), (loss, "train_loss")):
        marks = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 1]
        assert marks[0].tolist() == [[best["epoch"], best[quantity]]]


def test_learning_curves_have_a_row_per_backbone_and_one_legend() -> None:
    figure = learning_figure(helpful_report())
    assert len(figure.axes) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "none",
        "hein",
        "hein_match",
    ]


def test_gate_bars_are_the_weights_per_source() -> None:
    gates = helpful_report().gates
    figure = gate_figure(gates)
    assert [axes.get_title() for axes in figure.axes] == [
        "din   hein",
        "din   hein_match",
        "dcnv2   hein",
        "dcnv2   hein_match",
    ]
    for axes, cell in zip(figure.axes, gates.values(), strict=True):
        by_source = cell.by_source
        assert [bars.get_label() for bars in axes.containers] == list(by_source)
        for bars, weights in zip(axes.containers, by_source.values(), strict=True):
            assert [bar.get_height() for bar in bars] == pytest.approx(weights)
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            "S1",
            "S2",
            "D1",
            "D2",
            "D3",
            "D4",
            "D5",
        ]


def test_without_shared_experts_nothing_is_shaded() -> None:
    gates = {"din/hein": GateWeights(1, 0, {"item": np.array([0.2, 0.8])})}
    labels = gate_figure(gates).axes[0].get_legend_handles_labels()[1]
    assert labels == ["all experts alike", "item"]


def test_every_model_has_its_own_number_of_shared_experts() -> None:
    weights = {"item": np.array([0.2, 0.3, 0.5])}
    gates = {"din/a": GateWeights(1, 2, weights), "din/b": GateWeights(1, 1, weights)}
    names = [
        [label.get_text() for label in axes.get_xticklabels()] for axes in gate_figure(gates).axes
    ]
    assert names == [["S1", "S2", "D1"], ["S1", "D1", "D2"]]


def texts(axes: Axes) -> list[str]:
    return [text.get_text().strip() for text in axes.texts]


def whisker_ends(axes: Axes) -> list[np.ndarray]:
    return [container.lines[2][0].get_segments() for container in axes.containers]


def test_the_plot_of_quality_shows_every_model_with_its_interval_and_seeds() -> None:
    report = helpful_report()
    cells = result_cells(report)
    left, right = quality_figure(report, cells).axes
    assert [label.get_text().split() for label in left.get_yticklabels()] == [
        [cell.backbone, cell.knowledge] for cell in cells
    ]
    for cell, (segment,) in zip(cells, whisker_ends(left), strict=True):
        assert segment[:, 0] == pytest.approx([cell.low, cell.high])
    drawn = [tuple(line.get_xdata()) for line in left.lines]
    assert all(cell.seed_values in drawn for cell in cells)
    assert [text for text in texts(right) if text.isalpha()] == ["baseline", "baseline"]
    assert left.get_xlabel() == "test AUC"
    assert right.get_xlabel() == "difference of test AUC to the arm 'none'"


def test_the_second_panel_shows_the_intervals_of_the_differences() -> None:
    report = helpful_report()
    cells = result_cells(report)
    right = quality_figure(report, cells).axes[1]
    compared = [cell.comparison for cell in cells if cell.comparison is not None]
    for comparison, (segment,) in zip(compared, whisker_ends(right), strict=True):
        actual = comparison.difference
        assert segment[:, 0] == pytest.approx([actual.low, actual.high])
    marks = [mark(comparison) for comparison in compared]
    assert "*" in marks
    assert [text for text in texts(right) if text != "baseline"] == marks


def test_an_interval_that_excludes_its_estimate_can_be_drawn() -> None:
    beside = Difference(0.8, 0.81, 0.01, 0.011, 0.012)
    report = helpful_report()
    cell = replace(result_cells(report)[1], comparison=Comparison("din", "hein", beside))
    right = quality_figure(report, [cell]).axes[1]
    ((segment,),) = whisker_ends(right)
    assert segment[:, 0] == pytest.approx([0.01, 0.012])


def test_the_popularity_plot_has_a_panel_per_backbone_and_a_series_per_arm() -> None:
    report = helpful_report()
    slices = popularity_slices(report)
    figure = popularity_figure(report, slices)
    assert [axes.get_title() for axes in figure.axes] == [
        "din",
        "dcnv2",
    ]
    match_slices = [
        each.difference.difference
        for each in slices
        if (each.backbone, each.knowledge) == ("dcnv2", "hein_match")
    ]
    hein, match = figure.axes[1].containers
    assert (hein.get_label(), match.get_label()) == ("hein", "hein_match")
    assert match.lines[0].get_ydata() == pytest.approx(match_slices)
    assert figure.axes[0].get_xticklabels()[0].get_text() == (
        f"0 (cold)\nn = {slices[0].samples:,}"
    )


def test_buckets_with_too_few_samples_say_so() -> None:
    report = replace(helpful_report(), training_counts={})
    figure = popularity_figure(report, popularity_slices(report))
    assert [texts(axes) for axes in figure.axes] == [["too few"] * 4] * 2
    assert len(figure.axes[0].containers[0].lines[0].get_xdata()) == 1


@pytest.mark.parametrize(("users", "compared"), [(9, False), (10, True)])
def test_a_bucket_of_few_users_has_no_interval(users: int, compared: bool) -> None:
    report = replace(helpful_report(), training_counts={})
    runs = [
        replace(run, predictions=replace(run.predictions, user_ids=ids.astype(str)))
        for run in report.experiment.runs
        for ids in [np.arange(len(run.predictions.user_ids)) % users]
    ]
    few = replace(report, experiment=replace(report.experiment, runs=runs))
    cold = popularity_slices(few)[0]
    assert cold.users == users and (cold.difference is not None) == compared


def test_the_figure_has_the_best_so_far_of_every_arm() -> None:
    report = tuned_report()
    figure = tuning_figure(report)
    din, _ = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["din", "dcnv2"]
    assert din.get_ylabel() == "validation AUC"
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in din.lines}
    assert lines["hein"] == pytest.approx([0.702, 0.712])
