from __future__ import annotations

import http.server
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serving.deploy.rendering import render
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN
from tests.serving.deploy.metrics import METRICS
from tests.serving.deploy.schemas import require_compose_file


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
    assert source == "${MODEL_FOLDER:-../models}"
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
    (job,) = yaml.safe_load(render(deployment)["prometheus.yml"])["scrape_configs"]
    assert job["metrics_path"] == deployment.monitoring.path
    assert job["static_configs"] == [{"targets": [f"serving:{deployment.server.rest_port}"]}]
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
