from __future__ import annotations

import re

import pytest

from serving.deploy.dashboard_panels import Panel, dashboard_rows
from serving.deploy.metrics import METRICS
from tests.serving.deploy.promql import grouped_by, parse, selections

_ADDED_BY_PROMETHEUS = {"instance", "job", "le"}
_SUFFIXES_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")

PANELS = [panel for panels in dashboard_rows().values() for panel in panels]
EXPRESSIONS = [
    (legend, expression) for panel in PANELS for legend, expression in panel.targets.items()
]


def metric_of(series: str) -> str:
    """The metric that a series belongs to; a histogram is never read without a suffix."""
    for suffix in _SUFFIXES_OF_HISTOGRAMS:
        name = series.removesuffix(suffix)
        if name != series and name in METRICS and METRICS[name].kind == "histogram":
            return name
    assert METRICS[series].kind == "counter", series
    return series


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_panel_says_what_it_shows(panel: Panel) -> None:
    assert panel.title and panel.description.endswith(".")
    assert panel.unit in {"reqps", "ops", "µs", "percentunit", "short"}
    assert panel.targets


def test_titles_are_different() -> None:
    assert len({panel.title for panel in PANELS}) == len(PANELS)


@pytest.mark.parametrize(("legend", "expression"), EXPRESSIONS)
def test_expressions_ask_for_metrics_and_labels_that_exist(legend: str, expression: str) -> None:
    parsed = parse(expression)
    allowed = set(_ADDED_BY_PROMETHEUS)
    for selected in selections(parsed):
        labels = {*METRICS[metric_of(selected.name)].labels, *_ADDED_BY_PROMETHEUS}
        assert selected.labels <= labels
        allowed |= labels
    assert len(allowed) >= len(_ADDED_BY_PROMETHEUS)
    assert grouped_by(parsed) <= allowed
    assert set(re.findall(r"{{(\w+)}}", legend)) <= grouped_by(parsed)


@pytest.mark.parametrize("expression", [expression for _, expression in EXPRESSIONS])
def test_every_selection_is_of_the_chosen_replicas(expression: str) -> None:
    found = list(selections(parse(expression)))
    assert found
    assert all("instance" in selected.labels for selected in found)


def test_quantiles_keep_the_buckets() -> None:
    quantiles = [expression for _, expression in EXPRESSIONS if "histogram_quantile" in expression]
    assert {share for text in quantiles for share in re.findall(r"quantile\((0\.\d+)", text)} == {
        "0.5",
        "0.95",
        "0.99",
    }
    for expression in quantiles:
        assert "le" in grouped_by(parse(expression))
        assert all(selected.name.endswith("_bucket") for selected in selections(parse(expression)))


def test_what_must_be_watched_is_there() -> None:
    shown = {
        metric_of(selected.name)
        for _, expression in EXPRESSIONS
        for selected in selections(parse(expression))
    }
    assert shown == set(METRICS)


def test_probes_do_not_count_as_ranking() -> None:
    for _, expression in EXPRESSIONS:
        if "request_latency" in expression:
            assert 'API!=""' in expression
