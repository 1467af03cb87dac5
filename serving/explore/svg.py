"""Plots as SVG, drawn by the server: no script draws, and colours are those of the style sheet."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

PALETTE = 9
"""Classes of colours, c0 to c8, that the style sheet has."""

_WIDTH, _ROW = 520, 24
_LABELS = 200
_VALUES = 70


@dataclass(frozen=True)
class Bar:
    """One bar of a chart.

    Attributes:
      label: text beside it.
      value: its length, negative ones to the left.
      text: the value as people read it.
      low: lower end of an interval, or NaN.
      high: upper end.
      colour: number of its colour; None for the colour of what is left over.
    """

    label: str
    value: float
    text: str
    low: float = math.nan
    high: float = math.nan
    colour: int | None = 0


def bars(title: str, rows: Sequence[Bar]) -> Markup:
    """Horizontal bars around a line at zero, with intervals where there are any.

    Args:
      title: what is shown, for screen readers.
      rows: from top to bottom.
    """
    numbers = [0.0]
    for row in rows:
        numbers += [end for end in (row.value, row.low, row.high) if math.isfinite(end)]
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0
    left, width = _LABELS, _WIDTH - _LABELS - _VALUES

    def x(value: float) -> str:
        return f"{left + (value - low) / span * width:.1f}"

    parts = [
        Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(
            x(0), _ROW * len(rows)
        )
    ]
    for number, row in enumerate(rows):
        top = number * _ROW
        middle = top + _ROW / 2
        shown = row.value if math.isfinite(row.value) else 0.0
        start, end = sorted((0.0, shown))
        parts.append(
            Markup(
                '<g><title>{0}: {1}</title><text class="label" x="{2}" y="{3}">{4}</text>'
                '<rect class="c{5}" x="{6}" y="{7}" width="{8:.1f}" height="{9}"/>'
            ).format(
                *(row.label, row.text, left - 8, middle + 4, _shortened(row.label)),
                *(_colour(row.colour), x(start), top + 4, (end - start) / span * width, _ROW - 8),
            )
        )
        if math.isfinite(row.low) and math.isfinite(row.high):
            parts.append(
                Markup('<path class="interval" d="M{0} {2}H{1}M{0} {3}V{4}M{1} {3}V{4}"/>').format(
                    x(row.low), x(row.high), middle, middle - 4, middle + 4
                )
            )
        parts.append(
            Markup('<text class="value" x="{0}" y="{1}">{2}</text></g>').format(
                _WIDTH - _VALUES + 8, middle + 4, row.text
            )
        )
    return Markup(
        '<svg class="plot bars" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">{3}</svg>'
    ).format(_WIDTH, max(1, _ROW * len(rows)), title, Markup("").join(parts))


def _colour(number: int | None) -> str:
    return "none" if number is None else str(number % PALETTE)


def _shortened(text: str, most: int = 24) -> str:
    """Text that fits beside a bar; a rating at its end stays."""
    if len(text) <= most:
        return text
    rating = re.search(r" \([\d.]+\)$", text)
    end = f"\u2026{'' if rating is None else rating[0]}"
    return text[: most - len(end)].rstrip() + end


@dataclass(frozen=True)
class MapGroup:
    """Points of one colour.

    Attributes:
      rows: int, of the points.
      colour: number of the colour; None for the colour of what has no group.
    """

    rows: np.ndarray
    colour: int | None


MAP_SIZE = 1000
"""Width and height of a map in its own units."""
_DOT, _FINE_POINTS = 4, 50_000


class MapScale:
    """From the plane to the map and back; both axes have one unit.

    Attributes:
      origin: [2], the plane's lower left corner.
      unit: of the plane, for each unit of the map.
    """

    def __init__(self, plane: np.ndarray):
        """Fits points [points, 2] into the map."""
        low, high = plane.min(axis=0), plane.max(axis=0)
        self.unit = float((high - low).max() or 1.0) * 1.04 / MAP_SIZE
        self.origin = (low + high) / 2 - self.unit * MAP_SIZE / 2

    def on_map(self, plane: np.ndarray) -> np.ndarray:
        """Places on the map, [points, 2]; y goes down."""
        places = (plane - self.origin) / self.unit
        places[:, 1] = MAP_SIZE - places[:, 1]
        return places


def dots(places: np.ndarray, groups: Sequence[MapGroup]) -> Markup:
    """Points by colour, one path for each colour, so that ten thousand of them are small.

    Args:
      places: [points, 2] of `MapScale.on_map`.
      groups: the points of each colour, drawn in this order.
    """
    # Of very many points, those nearer than a dot is wide are one.
    unit = 1 if len(places) <= _FINE_POINTS else _DOT
    rounded = np.rint(places / unit).astype(int) * unit
    parts = []
    for group in groups:
        # Several points on one place look like one.
        distinct = np.unique(rounded[group.rows], axis=0).tolist()
        drawn = "".join(f"M{x} {y}h0" for x, y in distinct)
        parts.append(Markup('<path class="dots c{}" d="{}"/>').format(_colour(group.colour), drawn))
    return Markup("").join(parts)


def scatter(
    title: str, points: Markup, selected: tuple[float, float, float, float] | None = None
) -> Markup:
    """A map of points.

    Args:
      title: what is shown, for screen readers.
      points: of `dots`.
      selected: left, top, right and bottom of a rectangle.
    """
    frame = Markup("")
    if selected is not None:
        left, top, right, bottom = selected
        frame = Markup('<rect class="selected" x="{}" y="{}" width="{}" height="{}"/>').format(
            left, top, right - left, bottom - top
        )
    return Markup(
        '<svg class="plot map" viewBox="0 0 {0} {0}" role="img" aria-label="{1}">{2}{3}</svg>'
    ).format(MAP_SIZE, title, points, frame)


def columns(title: str, counts: Sequence[int], labels: Sequence[str]) -> Markup:
    """Upright columns, such as those of a histogram.

    Args:
      title: what is shown, for screen readers.
      counts: heights.
      labels: below each column.
    """
    height, bottom = 120, 20
    width = _WIDTH / max(1, len(counts))
    highest = max([*counts, 1])
    parts = []
    for number, (count, label) in enumerate(zip(counts, labels, strict=True)):
        tall = count / highest * (height - 16)
        parts.append(
            Markup(
                '<g><title>{0}: {1}</title><rect class="c0" x="{2:.1f}" y="{3:.1f}" '
                'width="{4:.1f}" height="{5:.1f}"/><text class="below" x="{6:.1f}" y="{7}">{0}'
                '</text><text class="below" x="{6:.1f}" y="{8:.1f}">{1}</text></g>'
            ).format(
                *(label, f"{count:,}", number * width + 2, height - tall, width - 4, tall),
                *(number * width + width / 2, height + 14, height - tall - 4),
            )
        )
    return Markup(
        '<svg class="plot columns" viewBox="0 0 {0} {1}" role="img" aria-label="{2}">{3}</svg>'
    ).format(_WIDTH, height + bottom, title, Markup("").join(parts))
