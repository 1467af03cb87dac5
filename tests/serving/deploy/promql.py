"""What expressions of PromQL ask for, by a parser of PromQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import promql_parser


class Selected(NamedTuple):
    """One selection of series.

    Attributes:
      name: of the metric.
      labels: those that it is matched by.
    """

    name: str
    labels: frozenset[str]


def parse(expression: str) -> promql_parser.Expr:
    """Parses an expression whose variables of Grafana are filled in.

    Raises:
      ValueError: it is not PromQL.
    """
    return promql_parser.parse(expression.replace("$__rate_interval", "5m"))


def selections(expression: promql_parser.Expr) -> Iterator[Selected]:
    """All selections of series in an expression."""
    for node in nodes(expression):
        if isinstance(node, promql_parser.VectorSelector):
            labels = frozenset(matcher.name for matcher in node.matchers.matchers)
            yield Selected(node.name or "", labels)


def grouped_by(expression: promql_parser.Expr) -> set[str]:
    """Labels that sums and the like keep, of all levels."""
    return {
        label
        for node in nodes(expression)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None
        for label in node.modifier.labels
    }


def nodes(expression: promql_parser.Expr) -> list[promql_parser.Expr]:
    """An expression and all below it."""
    collected: list[promql_parser.Expr] = []
    promql_parser.walk(expression, collected.append)
    return collected
