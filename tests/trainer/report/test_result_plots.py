from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes

from tests.trainer.report.synthetic import helpful_report
from trainer.experiments.results import Comparison
from trainer.report.cells import result_cells
from trainer.report.plots import popularity_figure, quality_figure
from trainer.report.table import mark, popularity_slices
from trainer.significance import Difference


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
        found = comparison.difference
        assert segment[:, 0] == pytest.approx([found.low, found.high])
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
    of_match = [
        found.difference.difference
        for found in slices
        if (found.backbone, found.knowledge) == ("dcnv2", "hein_match")
    ]
    hein, match = figure.axes[1].containers
    assert (hein.get_label(), match.get_label()) == ("hein", "hein_match")
    assert match.lines[0].get_ydata() == pytest.approx(of_match)
    assert figure.axes[0].get_xticklabels()[0].get_text() == (
        f"0 (cold)\nn = {slices[0].samples:,}"
    )


def test_buckets_with_too_few_samples_say_so() -> None:
    report = replace(helpful_report(), training_counts={})
    figure = popularity_figure(report, popularity_slices(report))
    assert [texts(axes) for axes in figure.axes] == [["too few"] * 4] * 2
    assert len(figure.axes[0].containers[0].lines[0].get_xdata()) == 1
