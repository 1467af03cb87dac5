from __future__ import annotations

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
