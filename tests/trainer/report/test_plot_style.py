from __future__ import annotations

import base64

import pytest
from matplotlib.figure import Figure

from trainer.report.plots import (
    colour_of,
    draw_legend,
    image_source,
    marker_of,
    panel_grid,
    source_colour_of,
)

ARMS = ["none", "a", "b", "c", "d"]


def one_line() -> Figure:
    figure, (axes,) = panel_grid(1, panel_height=1.0)
    axes.plot([1, 2], [3, 4], label="line")
    draw_legend(figure)
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
