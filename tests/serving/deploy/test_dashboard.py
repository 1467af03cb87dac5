from __future__ import annotations

import itertools
import json
import re
from typing import Any

import pytest

from serving.deploy.rendering import render
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import FULL, PLAIN
from tests.serving.deploy.metrics import METRICS, metric_of
from tests.serving.deploy.promql import grouped_by, parse, selections

_ADDED_BY_PROMETHEUS = {"instance", "job", "le", "track"}


def dashboard_of(deployment: Deployment) -> dict[str, Any]:
    return json.loads(render(deployment)["grafana/dashboard.json"])


DASHBOARD = dashboard_of(PLAIN)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [
    (target["legendFormat"], target["expr"]) for panel in PANELS for target in panel["targets"]
]


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    columns = range(place["x"], place["x"] + place["w"])
    return set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))


def test_the_dashboard_is_named_after_the_model() -> None:
    assert DASHBOARD["title"] == "Ranking model movies"
    assert DASHBOARD["uid"] == "movies-serving"
    assert DASHBOARD["uid"] != dashboard_of(FULL)["uid"]


def test_panels_have_what_grafana_draws_them_with() -> None:
    assert len(PANELS) > 10
    for panel in PANELS:
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["title"] and panel["description"].endswith(".")
        unit = panel["fieldConfig"]["defaults"]["unit"]
        assert unit in {"reqps", "ops", "µs", "percentunit", "short"}
        references = [target["refId"] for target in panel["targets"]]
        assert references and references == ["A", "B", "C"][: len(references)]


def test_panels_do_not_overlap_and_stay_on_the_grid() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert taken.isdisjoint(cells(panel)), panel["title"]
        taken |= cells(panel)
    assert {column for column, _ in taken} == set(range(24))
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_variables_that_are_used_are_declared() -> None:
    declared = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)\b", json.dumps(DASHBOARD["panels"])))
    assert used == declared == {"datasource", "model", "instance"}


def test_the_model_is_chosen_already() -> None:
    variables = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
    assert variables["model"]["current"]["value"] == "movies"


def test_titles_are_different() -> None:
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)


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
    actual = list(selections(parse(expression)))
    assert actual
    assert all("instance" in selected.labels for selected in actual)


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
