from __future__ import annotations

import dataclasses
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests
import yaml

from serving.__main__ import main
from serving.deploy.rendering import render
from serving.deploy.settings import Deployment
from serving.server import LocalServer
from serving.server.server_files import read_models_config
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN
from tests.serving.deploy.metrics import METRICS
from tests.serving.deploy.promql import parse, selections
from tests.serving.deploy.schemas import require_compose_file
from tests.serving.server.numbered_model import put_numbered_model


def services_of(deployment: Deployment) -> dict[str, Any]:
    return yaml.safe_load(render(deployment)["compose.yaml"])["services"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_the_file_fits_the_compose_specification(deployment: Deployment) -> None:
    document = yaml.safe_load(render(deployment)["compose.yaml"])
    require_compose_file(document)
    document["services"]["serving"]["volume"] = []
    with pytest.raises(jsonschema.ValidationError, match="'volume' was unexpected"):
        require_compose_file(document)


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_every_port_is_bound_to_this_machine(deployment: Deployment) -> None:
    ports = [port for service in services_of(deployment).values() for port in service["ports"]]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_mounted_files_are_rendered(deployment: Deployment) -> None:
    paths = set(render(deployment))
    sources = [
        volume["source"].removeprefix("./")
        for service in services_of(deployment).values()
        for volume in service["volumes"]
        if volume["type"] == "bind" and volume["source"].startswith("./")
    ]
    assert len(sources) == 4
    for source in sources:
        assert source in paths or any(path.startswith(f"{source}/") for path in paths), source


def test_the_folder_of_the_configuration_is_mounted_whole() -> None:
    """A file mounted alone would stay the old one when the renderer replaces it."""
    (config,) = [
        volume
        for volume in services_of(PLAIN)["serving"]["volumes"]
        if volume["source"] == "./server"
    ]
    folders = {
        flag.partition("=")[2].rpartition("/")[0]
        for flag in services_of(PLAIN)["serving"]["command"]
        if "_file=" in flag
    }
    assert folders == {config["target"]}


def test_models_come_from_a_folder_or_a_bucket() -> None:
    (source,) = [
        volume["source"]
        for volume in services_of(FULL)["serving"]["volumes"]
        if volume["target"] == "/srv/models"
    ]
    assert source == "${MODEL_FOLDER:-../export}"
    assert len(services_of(IN_A_BUCKET)["serving"]["volumes"]) == 1


def test_limits_in_the_units_of_compose() -> None:
    limits = services_of(FULL)["serving"]["deploy"]["resources"]["limits"]
    assert limits == {"memory": "1536m", "cpus": "3"}


def health_check(deployment: Deployment) -> str:
    """The command that Compose runs, with $ for the $$ that stands in the file."""
    kind, *words, command = services_of(deployment)["serving"]["healthcheck"]["test"]
    assert (kind, words) == ("CMD", ["bash", "-c"])
    return command.replace("$$", "$")


@pytest.fixture
def answering() -> Iterator[tuple[int, dict[str, int]]]:
    """A server that answers paths with the given statuses, 404 otherwise."""
    statuses: dict[str, int] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(statuses.get(self.path, 404))
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port, statuses
        server.shutdown()
        thread.join()


def test_the_health_check_tells_a_serving_version_from_a_loading_one(
    answering: tuple[int, dict[str, int]],
) -> None:
    port, statuses = answering
    deployment = Deployment.model_validate(
        {"model_name": "movies", "stable": 1, "server": {"rest_port": port, "grpc_port": 1}}
    )

    def is_healthy() -> bool:
        command = ["bash", "-c", health_check(deployment)]
        return subprocess.run(command, capture_output=True).returncode == 0

    assert not is_healthy()
    statuses["/v1/models/movies/labels/stable/metadata"] = 200
    assert is_healthy()
    statuses["/v1/models/movies/labels/stable/metadata"] = 404
    assert not is_healthy()


def test_the_health_check_fails_where_nothing_listens() -> None:
    deployment = Deployment.model_validate(
        {"model_name": "movies", "stable": 1, "server": {"rest_port": 1}}
    )
    command = ["bash", "-c", health_check(deployment)]
    assert subprocess.run(command, capture_output=True).returncode != 0


def test_compose_leaves_the_health_checks_variable_alone() -> None:
    *_, command = services_of(PLAIN)["serving"]["healthcheck"]["test"]
    assert "$$status" in command
    assert not re.search(r"(?<!\$)\$(?!\$)", command)


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_prometheus_reads_the_server_and_keeps_what_the_dashboard_shows(
    deployment: Deployment,
) -> None:
    files = render(deployment)
    prometheus = yaml.safe_load(files["prometheus/prometheus.yml"])
    assert [f"prometheus/{name}" in files for name in prometheus["rule_files"]] == [True]
    (job,) = prometheus["scrape_configs"]
    assert job["metrics_path"] == deployment.monitoring.path
    target = {"targets": [f"serving:{deployment.server.rest_port}"], "labels": {"track": "stable"}}
    assert job["static_configs"] == [target]
    (rule,) = job["metric_relabel_configs"]
    assert (rule["action"], rule["source_labels"]) == ("keep", ["__name__"])
    assert all(re.fullmatch(rule["regex"], name) for name in METRICS)
    assert not re.fullmatch(rule["regex"], ":tensorflow:data:autotune")


def test_grafana_finds_prometheus_and_the_dashboard() -> None:
    files = {
        path.removeprefix("grafana/provisioning/"): yaml.safe_load(text)
        for path, text in render(PLAIN).items()
        if path.startswith("grafana/provisioning/")
    }
    (source,) = files["datasources/prometheus.yaml"]["datasources"]
    services = services_of(PLAIN)
    host, _, port = source["url"].removeprefix("http://").partition(":")
    assert host in services
    assert services[host]["ports"][0].endswith(f":{port}")
    (provider,) = files["dashboards/dashboards.yaml"]["providers"]
    targets = [Path(volume["target"]) for volume in services["grafana"]["volumes"]]
    assert Path(provider["options"]["path"]) / "dashboard.json" in targets
    assert Path("/etc/grafana/provisioning") in targets


def test_the_server_writes_nowhere_but_to_memory() -> None:
    for deployment in DEPLOYMENTS.values():
        serving = services_of(deployment)["serving"]
        assert serving["read_only"] and serving["tmpfs"] == ["/tmp"]
        assert all(volume["read_only"] for volume in serving["volumes"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_no_container_gets_more_rights(deployment: Deployment) -> None:
    for service in services_of(deployment).values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def on_the_host(folder: Path, path: str) -> Path:
    """Where a path in the container of the server lies, of Compose files rendered to a folder."""
    services = yaml.safe_load((folder / "compose.yaml").read_text(encoding="utf-8"))["services"]
    for volume in services["serving"]["volumes"]:
        source = re.sub(r"\$\{\w+:-(.*)\}", r"\1", volume["source"])
        if path == volume["target"] or path.startswith(f"{volume['target']}/"):
            return Path(os.path.normpath(folder / source)) / path[len(volume["target"]) + 1 :]
    raise AssertionError(f"{path} is not mounted")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compose files beside an export, as `export` and `deploy` leave them."""
    out = tmp_path_factory.mktemp("out")
    put_numbered_model(out / "export", 3)
    settings = out / "deployment.yaml"
    settings.write_text("model_name: numbered\nstable: 3\n", encoding="utf-8")
    words = ["deploy", "--config", str(settings), "--out", str(out / "deploy"), "--json"]
    assert main(words) == 0
    return out / "deploy"


def test_every_mounted_path_exists_from_where_the_files_are_rendered(stack: Path) -> None:
    services = yaml.safe_load((stack / "compose.yaml").read_text(encoding="utf-8"))["services"]
    sources = [
        re.sub(r"\$\{\w+:-(.*)\}", r"\1", volume["source"])
        for service in services.values()
        for volume in service["volumes"]
        if volume["type"] == "bind"
    ]
    assert len(sources) == 5
    for source in sources:
        assert (stack / source).exists(), source
    assert on_the_host(stack, "/models/model/3/saved_model.pb").is_file()


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="needs docker-compose")
def test_compose_takes_the_file(stack: Path) -> None:
    command = ["docker-compose", "--project-directory", str(stack), "config", "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    mounts = json.loads(done.stdout)["services"]["serving"]["volumes"]
    assert [one["source"] for one in mounts] == [
        str(stack / "server"),
        str(stack.parent / "export"),
    ]


def test_a_model_that_is_not_there_is_told(
    stack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["deploy", "--config", str(stack / "settings.yaml"), "--json"]
    assert main([*words, "--out", str(stack)]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []
    assert main([*words, "--out", str(tmp_path / "deploy")]) == 0
    (note,) = json.loads(capsys.readouterr().out)["notes"]
    assert f"compose.yaml will not find {tmp_path / 'export/3'}" in note
    assert main([*words, "--out", str(tmp_path / "b"), "storage.path=gs://b/m"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"] == []


def test_the_stack_serves_and_tells_what_its_alerts_read(stack: Path) -> None:
    """The server's part of the stack, by the local server on the files that Compose mounts."""
    services = yaml.safe_load((stack / "compose.yaml").read_text(encoding="utf-8"))["services"]
    flags = dict(word[2:].split("=", 1) for word in services["serving"]["command"])
    (model,) = read_models_config(on_the_host(stack, flags["model_config_file"]))
    model = dataclasses.replace(model, base_path=on_the_host(stack, str(model.base_path)))
    with LocalServer([model]) as server:
        kind, *words, command = services["serving"]["healthcheck"]["test"]
        command = command.replace("$$", "$").replace(flags["rest_api_port"], str(server.rest_port))
        assert subprocess.run([*words, command], capture_output=True).returncode == 0
        address = f"http://127.0.0.1:{server.rest_port}"
        predict = f"{address}/v1/models/numbered/labels/stable:predict"
        answer = requests.post(predict, json={"instances": [1.0, 2.0]}, timeout=10)
        assert answer.json() == {"predictions": [4.0, 5.0]}
        path = yaml.safe_load((stack / "settings.yaml").read_text())["monitoring"]["path"]
        text = requests.get(address + path, timeout=10).text
    read = {
        selected.name
        for rule in yaml.safe_load((stack / "prometheus/alerts.yml").read_text())["groups"][0][
            "rules"
        ]
        for selected in selections(parse(rule["expr"]))
    } - {"up", ":tensorflow:serving:batching_session:queuing_latency_bucket"}
    assert len(read) == 3
    for name in read:
        assert re.search(rf"^{name}{{", text, re.MULTILINE), name
    assert f'load_attempt_count{{model_path="{model.base_path}/3",status="success"}} 1.0' in text
