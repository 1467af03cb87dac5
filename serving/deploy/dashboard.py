"""The Grafana dashboard of a served model."""

from __future__ import annotations

from collections.abc import Iterable

from serving.deploy import metrics
from serving.deploy.dashboard_panels import Panel, dashboard_rows
from serving.deploy.documents import json_text
from serving.deploy.settings import Deployment

_COLUMNS = 24
_HEIGHT = 8
_DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboard_json(deployment: Deployment) -> str:
    """The dashboard, for Grafana's import or provisioning."""
    return json_text(
        {
            "uid": deployment.object_name[:40],
            "title": f"Ranking model {deployment.model_name}",
            "tags": ["tensorflow-serving"],
            "schemaVersion": 41,
            "editable": True,
            "refresh": "30s",
            "time": {"from": "now-1h", "to": "now"},
            "templating": {"list": _variables(deployment.model_name)},
            "panels": list(_laid_out(dashboard_rows())),
        }
    )


def _variables(model_name: str) -> list[dict[str, object]]:
    of_requests = f"label_values({metrics.REQUEST_COUNT}, %s)"
    return [
        {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"},
        {
            "name": "model",
            "label": "Model",
            "type": "query",
            "datasource": _DATA_SOURCE,
            "query": of_requests % "model_name",
            "refresh": 2,
            "current": {"text": model_name, "value": model_name},
        },
        {
            "name": "instance",
            "label": "Replica",
            "type": "query",
            "datasource": _DATA_SOURCE,
            "query": of_requests % "instance",
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def _laid_out(rows: dict[str, list[Panel]]) -> Iterable[dict[str, object]]:
    number, top = 0, 0
    for title, panels in rows.items():
        number += 1
        place = {"x": 0, "y": top, "w": _COLUMNS, "h": 1}
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "gridPos": place,
            "panels": [],
        }
        top += 1
        left = 0
        height = _HEIGHT // 2 if panels[0].kind == "stat" else _HEIGHT
        for panel in panels:
            number += 1
            place = {"x": left, "y": top, "w": panel.width, "h": height}
            yield _drawn(panel, number, place)
            left += panel.width
        top += height


def _drawn(panel: Panel, number: int, place: dict[str, int]) -> dict[str, object]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATA_SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _DATA_SOURCE,
                "expr": expression,
                "legendFormat": legend,
            }
            for index, (legend, expression) in enumerate(panel.targets.items())
        ],
    }
