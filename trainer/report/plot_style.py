"""How all plots of a report look, and how a plot becomes an image of a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDTH_INCHES = 10.2
PANELS_PER_ROW = 2
_LEGEND_COLUMNS = 5

# Okabe and Ito's palette, which people with colour vision deficiencies can tell apart.
_BASELINE_COLOUR = "#5f6368"
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_BASELINE_MARKER = "o"
_MARKERS = ("s", "D", "^", "v", "P", "X")

_SETTINGS: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#9aa0a6",
    "axes.labelcolor": "#202124",
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.w_pad": 0.08,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": "#e0e3e7",
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "report",
    "xtick.color": "#3c4043",
    "ytick.color": "#3c4043",
}


def image_source(draw: Callable[[], Figure]) -> str:
    """Draws a figure in the report's style and returns it as an SVG data URI."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        draw().savefig(buffer, format="svg", metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def panel_grid(count: int, panel_height: float) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of a common y axis, `PANELS_PER_ROW` in a row.

    Args:
      count: number of panels.
      panel_height: inches.
    """
    columns = min(count, PANELS_PER_ROW)
    rows = -(-count // columns)
    figure = Figure(figsize=(WIDTH_INCHES, 0.5 + panel_height * rows))
    panels = list(figure.subplots(rows, columns, sharey=True, squeeze=False).ravel())
    for axes in panels[count:]:
        axes.set_axis_off()
    return figure, panels[:count]


def draw_legend(figure: Figure) -> None:
    """One legend above all panels, with every label once."""
    found = {
        label: handle
        for axes in figure.axes
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    if found:
        figure.legend(
            list(found.values()),
            list(found),
            loc="outside upper right",
            ncols=min(len(found), _LEGEND_COLUMNS),
        )


def colour_of(names: Sequence[str], name: str, baseline: str) -> str:
    """Colour of a series: distinct in the order of `names`, the baseline grey."""
    if name == baseline:
        return _BASELINE_COLOUR
    return _COLOURS[_place(names, name, baseline) % len(_COLOURS)]


def source_colour_of(sources: Sequence[str], source: str) -> str:
    """Colour of a knowledge source, shifted in the palette so as not to suggest an arm."""
    return _COLOURS[(sources.index(source) + 2) % len(_COLOURS)]


def marker_of(names: Sequence[str], name: str, baseline: str) -> str:
    """Marker of a series: colour is never the only cue, and no two series have both in common."""
    if name == baseline:
        return _BASELINE_MARKER
    rounds, place = divmod(_place(names, name, baseline), len(_COLOURS))
    return _MARKERS[(place + rounds) % len(_MARKERS)]


def _place(names: Sequence[str], name: str, baseline: str) -> int:
    return [other for other in names if other != baseline].index(name)


def draw_zero_line(axes: Axes, across: str) -> None:
    """A dashed line where a difference is 0; `across` is the axis it is on, "x" or "y"."""
    line = axes.axvline if across == "x" else axes.axhline
    line(0.0, color="#444444", linewidth=1.0, linestyle=(0, (4, 3)), zorder=1)
