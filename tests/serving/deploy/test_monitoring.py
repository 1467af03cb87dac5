from __future__ import annotations

import importlib.util
import itertools
import json
import mmap
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.deploy.rendering import render
from serving.deploy.settings import Deployment
from serving.server import metrics
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, PLAIN
from tests.serving.deploy.metrics import METRICS, metric_of
from tests.serving.deploy.promql import grouped_by, parse, selections

_ADDED_BY_PROMETHEUS = {"instance", "job", "le", "track"}
_OF_PROMETHEUS_ITSELF = {"up"}


def rules_of(deployment: Deployment) -> dict[str, dict[str, Any]]:
    (group,) = yaml.safe_load(render(deployment)["prometheus/alerts.yml"])["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


RULES = rules_of(PLAIN)


def metrics_of(expression: str) -> set[str]:
    names = {selected.name for selected in selections(parse(expression))}
    return {name if name in _OF_PROMETHEUS_ITSELF else metric_of(name) for name in names}


def test_what_goes_wrong_at_night_has_an_alert() -> None:
    assert list(RULES) == [
        "NoModelServed",
        "ReplicaDown",
        "RequestsFail",
        "RankingSlow",
        "ReplicaRestarts",
        "VersionDoesNotLoad",
        "ModelStale",
        "QueueLong",
    ]


@pytest.mark.parametrize("name", RULES)
def test_a_rule_has_what_prometheus_and_people_need(name: str, repository_root: Path) -> None:
    rule = RULES[name]
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert re.fullmatch(r"[0-9]+[mh]", rule.get("for", "1m"))
    page = (repository_root / "docs/deployment.md").read_text(encoding="utf-8")
    assert f"| `{name}`" in page, "docs/deployment.md says what to do about every alert"


@pytest.mark.parametrize("name", RULES)
def test_rules_ask_for_metrics_and_labels_that_exist(name: str) -> None:
    parsed = parse(RULES[name]["expr"])
    labels = set(_ADDED_BY_PROMETHEUS)
    selected = list(selections(parsed))
    assert selected
    for one in selected:
        assert "job" in one.labels
        if one.name not in _OF_PROMETHEUS_ITSELF:
            known = {*METRICS[metric_of(one.name)].labels, *_ADDED_BY_PROMETHEUS}
            assert one.labels <= known
            labels |= known
    assert grouped_by(parsed) <= labels
    shown = set(re.findall(r"\$labels\.(\w+)", str(RULES[name]["annotations"])))
    kept = grouped_by(parsed) or set(_ADDED_BY_PROMETHEUS)
    assert shown <= kept - {"le"}


def test_the_local_server_exports_what_the_rules_read() -> None:
    with metrics.counted_request("a", "Predict", "GRPC"), metrics.counted_load("folder/1"):
        pass
    exported = set(re.findall(r"^# TYPE (\S+)", metrics.metrics_text().decode(), re.MULTILINE))
    asked = set().union(*(metrics_of(rule["expr"]) for rule in RULES.values()))
    assert asked - exported == {"up", ":tensorflow:serving:batching_session:queuing_latency"}


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_metrics_and_rules_meet_under_one_job(deployment: Deployment) -> None:
    files = render(deployment)
    (job,) = yaml.safe_load(files["prometheus/prometheus.yml"])["scrape_configs"]
    assert job["job_name"] == deployment.object_name
    monitor = yaml.safe_load(files["kubernetes/components/monitoring/podmonitor.yaml"])["spec"]
    workload = yaml.safe_load(files["kubernetes/deployment.yaml"])["spec"]["template"]
    pod = workload["metadata"]["labels"]
    assert pod[monitor["jobLabel"]] == deployment.object_name
    assert monitor["selector"]["matchLabels"].items() <= pod.items()
    assert monitor["podTargetLabels"] == ["track"] and pod["track"] == "stable"
    (endpoint,) = monitor["podMetricsEndpoints"]
    (container,) = workload["spec"]["containers"]
    assert endpoint["port"] in {port["name"] for port in container["ports"]}
    assert endpoint["path"] == deployment.monitoring.path
    (kept,) = endpoint["metricRelabelings"]
    assert all(re.fullmatch(kept["regex"], name) for name in METRICS)
    for rule in rules_of(deployment).values():
        assert f'job="{deployment.object_name}"' in rule["expr"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_operator_gets_the_same_rules_and_the_same_dashboard(deployment: Deployment) -> None:
    files = render(deployment)
    folder = "kubernetes/components/monitoring"
    rule = yaml.safe_load(files[f"{folder}/prometheusrule.yaml"])
    assert rule["spec"] == yaml.safe_load(files["prometheus/alerts.yml"])
    dashboard = yaml.safe_load(files[f"{folder}/dashboard.yaml"])
    assert list(dashboard["data"].values()) == [files["grafana/dashboard.json"]]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    release = deployment.monitoring.operator_release
    assert rule["metadata"]["labels"].get("release") == release


def test_thresholds_follow_the_settings() -> None:
    plain, full = RULES, rules_of(FULL)
    assert plain["RequestsFail"]["expr"].endswith("> 0.02")
    assert full["RequestsFail"]["expr"].endswith("> 0.005")
    assert "0.5 % of requests" in full["RequestsFail"]["annotations"]["summary"]
    assert plain["RankingSlow"]["expr"].endswith("> 200000")
    assert full["RankingSlow"]["expr"].endswith("> 80000")
    assert plain["QueueLong"]["expr"].endswith("> 50000")
    assert plain["ModelStale"]["expr"].count("offset 7d") == 2
    assert full["ModelStale"]["expr"].count("offset 2d") == 2


# Series over time and the alerts that they must raise, for `promtool test rules`. A name begins
# with a colon, which promtool's series take only as {__name__=...}.
_NIGHTS = """\
rule_files: [alerts.yml]
evaluation_interval: 1m
tests:
  - name: a good night, then a replica fails to load a version, later requests fail
    interval: 1m
    input_series:
      - {series: 'up{job="movies-serving", instance="a", track="stable"}', values: '1x600'}
      - series: '{__name__=":tensorflow:cc:saved_model:load_attempt_count", job="movies-serving", instance="a", track="stable", status="success", model_path="/models/model/1"}'
        values: '1x600'
      - series: '{__name__=":tensorflow:cc:saved_model:load_attempt_count", job="movies-serving", instance="a", track="stable", status="fail", model_path="/models/model/2"}'
        values: '_x100 1x500'
      - series: '{__name__=":tensorflow:serving:request_count", job="movies-serving", instance="a", track="stable", model_name="movies", status="OK"}'
        values: '0+100x600'
      - series: '{__name__=":tensorflow:serving:request_count", job="movies-serving", instance="a", track="stable", model_name="movies", status="INVALID_ARGUMENT"}'
        values: '0+50x600'
      - series: '{__name__=":tensorflow:serving:request_count", job="movies-serving", instance="a", track="stable", model_name="movies", status="INTERNAL"}'
        values: '0x300 0+10x300'
    alert_rule_test:
      - {eval_time: 90m, alertname: NoModelServed}
      - {eval_time: 90m, alertname: ReplicaDown}
      - {eval_time: 90m, alertname: VersionDoesNotLoad}
      - {eval_time: 300m, alertname: RequestsFail}
      - {eval_time: 590m, alertname: ReplicaRestarts}
      - {eval_time: 590m, alertname: ModelStale}
      - eval_time: 110m
        alertname: VersionDoesNotLoad
        exp_alerts:
          - exp_labels: {severity: critical, model_path: /models/model/2, track: stable}
            exp_annotations:
              summary: /models/model/2 cannot be loaded (track stable)
              description: "The version before keeps serving. The server's log has the reason: files that are missing or damaged, an operation that this release does not know, no memory."
      - {eval_time: 200m, alertname: VersionDoesNotLoad}
      - eval_time: 330m
        alertname: RequestsFail
        exp_alerts:
          - exp_labels: {severity: critical, track: stable}
            exp_annotations:
              summary: More than 2 % of requests fail (track stable)
              description: "6.25% of all requests. The dashboard shows their status: UNAVAILABLE is a full queue or a version that does not serve, INTERNAL the model itself."
  - name: nothing serves, and a replica does not answer
    interval: 1m
    input_series:
      - {series: 'up{job="movies-serving", instance="a", track="stable"}', values: '0x60'}
    alert_rule_test:
      - {eval_time: 4m, alertname: NoModelServed}
      - {eval_time: 9m, alertname: ReplicaDown}
      - eval_time: 10m
        alertname: NoModelServed
        exp_alerts:
          - exp_labels: {severity: critical, job: movies-serving, track: stable, status: success}
            exp_annotations:
              summary: No stable replica of movies-serving serves a model
              description: No server of this name has told of a loaded version for 5 minutes. Look whether the servers run, whether the version lies where they look, and whether Prometheus finds them.
      - eval_time: 15m
        alertname: ReplicaDown
        exp_alerts:
          - exp_labels: {severity: warning, job: movies-serving, instance: a, track: stable}
            exp_annotations:
              summary: Replica a of movies-serving has not answered for 10 minutes
              description: It waits for its version, does not start, or is out of reach. Its log says which.
  - name: a replica starts three times within an hour
    interval: 1m
    input_series:
      - series: '{__name__=":tensorflow:serving:request_count", job="movies-serving", instance="a", track="stable", model_name="movies", status="OK"}'
        values: '0+5x10 0+5x10 0+5x10 0+5x200'
    alert_rule_test:
      - {eval_time: 30m, alertname: ReplicaRestarts}
      - eval_time: 40m
        alertname: ReplicaRestarts
        exp_alerts:
          - exp_labels: {severity: warning, instance: a}
            exp_annotations:
              summary: Replica a of movies-serving starts again and again
              description: "3 times within an hour. Most often memory: resources.memory must hold every listed version, and one more while a version is replaced."
      - {eval_time: 120m, alertname: ReplicaRestarts}
"""  # noqa: E501
_WEEKS = """\
rule_files: [alerts.yml]
evaluation_interval: 30m
tests:
  - name: one model is refreshed on the tenth day, the other never
    interval: 4m
    input_series:
      - series: '{__name__=":tensorflow:cc:saved_model:load_attempt_count", job="movies-serving", instance="a", track="stable", status="success", model_path="/models/model/1"}'
        values: '1x7200'
      - series: '{__name__=":tensorflow:cc:saved_model:load_attempt_count", job="movies-serving", instance="a", track="stable", status="success", model_path="/models/model/2"}'
        values: '_x3600 1x3600'
      - series: '{__name__=":tensorflow:cc:saved_model:load_attempt_count", job="other", instance="b", track="stable", status="success", model_path="/models/model/9"}'
        values: '1x7200'
    alert_rule_test:
      - {eval_time: 6d, alertname: ModelStale}
      - eval_time: 9d
        alertname: ModelStale
        exp_alerts: &stale
          - exp_labels: {severity: warning, job: movies-serving}
            exp_annotations:
              summary: movies-serving has loaded no new version for 7 days
              description: "The refresh has stopped, or its versions are not rolled out: compare the newest version folder with the label `stable`."
      - {eval_time: 11d, alertname: ModelStale}
      - {eval_time: 16d, alertname: ModelStale}
      - {eval_time: 19d, alertname: ModelStale, exp_alerts: *stale}
"""  # noqa: E501


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_alerts_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(render(PLAIN)["prometheus/alerts.yml"], encoding="utf-8")
    (tmp_path / "nights.yml").write_text(_NIGHTS, encoding="utf-8")
    (tmp_path / "weeks.yml").write_text(_WEEKS, encoding="utf-8")
    for words in (
        ["check", "rules", "alerts.yml"],
        ["test", "rules", "nights.yml", "weeks.yml"],
    ):
        done = subprocess.run(["promtool", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


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


def test_names_are_those_of_the_exporter() -> None:
    """It writes ":" for "/", and TensorFlow's metrics begin with "/tensorflow/"."""
    for name in METRICS:
        assert re.fullmatch(r":tensorflow:(serving|core|cc)(:[a-z_]+)+", name), name


def test_labels_are_named_once() -> None:
    for name, metric in METRICS.items():
        assert len(set(metric.labels)) == len(metric.labels), name


@pytest.fixture(scope="module")
def tensorflow_library() -> bytes:
    """The library of the installed TensorFlow that declares its core metrics."""
    collected = importlib.util.find_spec("tensorflow")
    assert collected is not None and collected.origin is not None
    path = Path(collected.origin).with_name("libtensorflow_framework.so.2")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as library:
        declared = re.findall(rb"/tensorflow/(?:core|cc)/[a-z_/]+", library)
    return b"\n".join(declared)


@pytest.mark.parametrize("name", [name for name in METRICS if ":serving:" not in name])
def test_core_metrics_exist_in_tensorflow(name: str, tensorflow_library: bytes) -> None:
    assert name.replace(":", "/").encode() in tensorflow_library.splitlines()
