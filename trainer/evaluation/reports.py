"""An evaluation as tables for people."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from configs.command_line import say
from trainer.evaluation.part_metrics import PartMetrics
from trainer.metrics import display_name, summary
from trainer.model_kinds import MODEL_KINDS

NOTHING = "–"
"""What stands in the place of a metric that has no value."""

Slices = Mapping[str, Mapping[str, Mapping[str, Any]]]


def header(kind: str) -> list[str]:
    """Names of the columns of `rows`."""
    return [
        "slice",
        "group",
        "n",
        "share",
        *map(display_name, MODEL_KINDS[kind].shown_metrics),
        "remark",
    ]


def rows(slices: Slices, kind: str) -> list[list[str]]:
    """A row for each group, for people."""
    return [
        [
            name,
            group,
            f"{metrics['n']:,}",
            f"{100 * metrics['share']:.1f} %",
            *(
                NOTHING if metrics[metric] is None else f"{metrics[metric]:.4f}"
                for metric in MODEL_KINDS[kind].shown_metrics
            ),
            remark(metrics),
        ]
        for name, groups in slices.items()
        for group, metrics in groups.items()
    ]


def remark(metrics: Mapping[str, Any]) -> str:
    """What to know about a group: why a metric has no value, or that it has few samples."""
    few = "few samples" if metrics["sparse"] and metrics["n"] else ""
    return "; ".join(text for text in (metrics.get("reason", ""), few) if text)


_WIDTH_OF_FILES = 170
_TEXT_COLUMNS = {"metric", "slice", "group", "remark"}
_AT_K = re.compile(r"(.+)_at_(\d+)")


def print_part(title: str, kind: str, part: PartMetrics) -> None:
    """Prints what an evaluation found: a line that says the most, all metrics, and the slices.

    Args:
      title: what was judged.
      kind: of the model.
      part: the metrics.
    """
    metrics = part.metrics
    examples = MODEL_KINDS[kind].predictions.examples_name
    say(f"{title}: {summary(metrics)}, {metrics['n']:,} {examples}")
    _print_metrics(metrics)
    for task, task_metrics in metrics.get("tasks", {}).items():
        say(f"task '{task}':")
        _print_metrics(task_metrics)
    if part.slices:
        print_table(header(kind), rows(part.slices, kind), sections=True)


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], sections: bool = False
) -> None:
    """Prints texts in columns; figures are aligned to the right.

    Args:
      header: names of the columns.
      rows: a text for each column.
      sections: whether a line parts rows with another first text.
    """
    table = Table(box=SIMPLE, pad_edge=False)
    for name in header:
        is_text = name in _TEXT_COLUMNS
        justify: Literal["left", "right"] = "left" if is_text else "right"
        table.add_column(escape(name), justify=justify, no_wrap=not is_text)
    for number, row in enumerate(rows):
        is_last = number + 1 == len(rows) or rows[number + 1][0] != row[0]
        table.add_row(*map(escape, row), end_section=sections and is_last)
    is_terminal = sys.stderr.isatty()
    Console(file=sys.stderr, width=None if is_terminal else _WIDTH_OF_FILES).print(table)


def _print_metrics(metrics: Mapping[str, Any]) -> None:
    """Metrics of one value in a row each; those at several k in a row with a column for each k."""
    by_name: dict[str, dict[str, str]] = {}
    single = []
    for name, value in metrics.items():
        if not isinstance(value, (int, float)):
            continue
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        if at_k := _AT_K.fullmatch(name):
            by_name.setdefault(at_k[1], {})[at_k[2]] = shown
        else:
            single.append([display_name(name), shown])
    print_table(["metric", "value"], single)
    if by_name:
        ks = list(next(iter(by_name.values())))
        rows = [[name, *(values[k] for k in ks)] for name, values in by_name.items()]
        print_table(["metric", *(f"k = {k}" for k in ks)], rows)
