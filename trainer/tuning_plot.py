"""The results of a search by trial, and by each of the settings that were searched."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from configs.judging import SearchRange
from trainer.metric_names import people_call
from trainer.tuning import Trial
from trainer.tuning_space import Space

_COLOUR, _BEST_COLOUR = "#0072B2", "#D55E00"
_PANELS_PER_ROW = 3


def trials_figure(trials: Sequence[Trial], metric: str, space: Space) -> Figure:
    """A panel over the trials with the best so far, and one per setting.

    Args:
      trials: in order; those without a result are left out.
      metric: by which they were judged.
      space: that was searched.
    """
    count = 1 + len(space)
    columns = min(count, _PANELS_PER_ROW)
    rows = -(-count // columns)
    figure = Figure(figsize=(3.6 * columns, 0.4 + 2.8 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).ravel())
    complete = [trial for trial in trials if trial.value is not None]
    values = np.array([trial.value for trial in complete], np.float64)
    first, *others = panels
    numbers = [trial.number for trial in complete]
    first.plot(numbers, values, "o", color=_COLOUR, label="trial")
    first.plot(
        numbers,
        np.maximum.accumulate(values) if len(values) else values,
        color=_BEST_COLOUR,
        drawstyle="steps-post",
        label="best so far",
    )
    first.set_xlabel("trial")
    first.xaxis.set_major_locator(MaxNLocator(integer=True))
    first.legend(frameon=False)
    for axes, (key, searched) in zip(others, space.items(), strict=False):
        _setting_panel(axes, key, searched, complete, values)
    for axes in panels[::columns]:
        axes.set_ylabel(f"validation {people_call(metric)}")
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure


def _setting_panel(
    axes: Axes, key: str, searched: SearchRange, complete: Sequence[Trial], values: np.ndarray
) -> None:
    settings = [trial.settings[key] for trial in complete]
    if searched.choices is None:
        axes.plot(np.array(settings, np.float64), values, "o", color=_COLOUR)
        if searched.log:
            axes.set_xscale("log")
    else:
        texts = [_text(choice) for choice in searched.choices]
        places = [texts.index(_text(setting)) for setting in settings]
        axes.plot(places, values, "o", color=_COLOUR)
        axes.set_xticks(range(len(texts)), texts)
        axes.set_xlim(-0.5, len(texts) - 0.5)
    axes.set_xlabel(key)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
