from __future__ import annotations

from pathlib import Path

from configs.experiment import SearchRange
from trainer.tuning import Trial
from trainer.tuning_results import trials_figure

SPACE = {
    "training.learning_rate": SearchRange(low=1e-4, high=1e-2, log=True),
    "model.dropout_rate": SearchRange(low=0, high=0.5),
    "model.top_units": SearchRange(choices=([200, 80], [64])),
}


def trial(number: int, value: float | None, rate: float, units: list[int]) -> Trial:
    settings = {
        "training.learning_rate": rate,
        "model.dropout_rate": 0.1 * number,
        "model.top_units": units,
    }
    return Trial(number, settings, "complete" if value else "failed", value, 1.0, "", Path())


def test_there_is_a_panel_for_the_trials_and_one_for_each_setting() -> None:
    trials = [
        trial(1, 0.7, 1e-3, [200, 80]),
        trial(2, None, 5e-3, [64]),
        trial(3, 0.75, 2e-3, [64]),
        trial(4, 0.72, 4e-4, [64]),
    ]
    figure = trials_figure(trials, "auc", SPACE)
    order, rate, dropout, units = figure.axes[:4]
    points, best = order.lines
    assert list(points.get_xdata()) == [1, 3, 4]
    assert list(best.get_ydata()) == [0.7, 0.75, 0.75]
    assert order.get_ylabel() == "validation AUC"
    assert (rate.get_xscale(), dropout.get_xscale()) == ("log", "linear")
    assert list(rate.lines[0].get_xdata()) == [1e-3, 2e-3, 4e-4]
    assert [label.get_text() for label in units.get_xticklabels()] == ["[200, 80]", "[64]"]
    assert list(units.lines[0].get_xdata()) == [0, 1, 1]
    assert [axes.get_xlabel() for axes in figure.axes[1:4]] == list(SPACE)


def test_without_a_result_the_figure_is_empty() -> None:
    figure = trials_figure([trial(1, None, 1e-3, [64])], "auc", SPACE)
    assert len(figure.axes[0].lines[0].get_xdata()) == 0
