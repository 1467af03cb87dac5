from __future__ import annotations

import itertools
import json
import re
from typing import Any

from serving.deploy.dashboard import dashboard_json
from serving.deploy.dashboard_panels import dashboard_rows
from tests.serving.deploy.deployments import FULL, PLAIN

DASHBOARD = json.loads(dashboard_json(PLAIN))


def cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    columns = range(place["x"], place["x"] + place["w"])
    return set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))


def test_the_dashboard_is_named_after_the_model() -> None:
    assert DASHBOARD["title"] == "Ranking model movies"
    assert DASHBOARD["uid"] == "movies-serving"
    assert DASHBOARD["uid"] != json.loads(dashboard_json(FULL))["uid"]


def test_panels_have_what_grafana_draws_them_with() -> None:
    drawn = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
    expected = [panel for panels in dashboard_rows().values() for panel in panels]
    assert [panel["title"] for panel in drawn] == [panel.title for panel in expected]
    for panel, source in zip(drawn, expected, strict=True):
        assert panel["type"] in {"timeseries", "stat"}
        assert panel["fieldConfig"]["defaults"]["unit"] == source.unit
        assert [target["expr"] for target in panel["targets"]] == list(source.targets.values())
        assert [target["legendFormat"] for target in panel["targets"]] == list(source.targets)
        references = [target["refId"] for target in panel["targets"]]
        assert references == ["A", "B", "C"][: len(references)]


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
