from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from configs.loading import load_section
from serving.deploy.rendering import SETTINGS_FILE, TEMPLATE, render
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_equal_settings_give_equal_texts(deployment: Deployment) -> None:
    copy = Deployment.model_validate(deployment.model_dump(mode="json"))
    assert render(copy) == render(deployment)
    assert list(render(copy)) == sorted(render(deployment))


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_settings_are_rendered_completely(deployment: Deployment, tmp_path: Path) -> None:
    text = render(deployment)[SETTINGS_FILE]
    assert yaml.safe_load(text) == deployment.model_dump(mode="json")
    (tmp_path / SETTINGS_FILE).write_text(text, encoding="utf-8")
    assert load_section(Deployment, tmp_path / SETTINGS_FILE) == deployment


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_every_file_ends_with_one_line_end_and_has_no_stray_blanks(deployment: Deployment) -> None:
    for path, text in render(deployment).items():
        assert text.endswith("\n") and not text.endswith("\n\n"), path
        assert not any(line != line.rstrip() for line in text.splitlines()), path


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_every_placeholder_is_filled_in(deployment: Deployment) -> None:
    pattern = re.compile(r"<[a-z][a-z0-9_./]*>")
    assert any(pattern.search(path.read_text()) for path in TEMPLATE.rglob("*.yaml"))
    for path, text in render(deployment).items():
        assert not pattern.search(text), path


@pytest.mark.parametrize(
    "path",
    sorted(path.relative_to(TEMPLATE).as_posix() for path in TEMPLATE.rglob("*.y*ml")),
)
def test_templates_are_yaml_as_they_stand(path: str) -> None:
    assert list(yaml.safe_load_all((TEMPLATE / path).read_text(encoding="utf-8")))


def scalars(document: object) -> Iterator[object]:
    """All values of a document that are no mappings and no lists."""
    if isinstance(document, dict):
        for value in document.values():
            yield from scalars(value)
    elif isinstance(document, list):
        for value in document:
            yield from scalars(value)
    else:
        yield document


@pytest.mark.parametrize("name", ["true", "on", "null", "y"])
def test_a_name_that_is_a_word_of_yaml_stays_a_text(name: str) -> None:
    deployment = Deployment.model_validate(
        {"model_name": "2024", "name": name, "stable": 1, "tag": "2.21"}
        | {"storage": {"claim": name, "storage_class": name}}
        | {"kubernetes": {"namespace": name, "service_account": name}}
    )
    actual = [
        value
        for path, text in render(deployment).items()
        if path.startswith(("kubernetes/", "kserve/", "compose"))
        for document in yaml.safe_load_all(text)
        for value in scalars(document)
    ]
    assert None not in actual
    assert {"2024", "2.21"} <= set(actual)
    assert actual.count(name) > 20


@pytest.mark.parametrize(
    ("resources", "cpu", "cpus", "memory"),
    [
        ({"cpu_limit": 2, "memory": "1Gi"}, "2", "2", "1024m"),
        ({"cpu_limit": 4.0, "memory": "2Ti"}, "4", "4", "2097152m"),
        ({"cpu": 0.5, "cpu_limit": 0.5, "memory": "512Mi"}, "500m", "0.5", "512m"),
        ({"cpu": 1, "cpu_limit": 1.25, "memory": "1.5Gi"}, "1250m", "1.25", "1536m"),
    ],
)
def test_quantities_in_the_units_of_kubernetes_and_of_compose(
    resources: dict[str, object], cpu: str, cpus: str, memory: str
) -> None:
    files = render(
        Deployment.model_validate({"model_name": "movies", "stable": 1, "resources": resources})
    )
    workload = yaml.safe_load(files["kubernetes/deployment.yaml"])
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    limits = {"cpu": cpu, "memory": resources["memory"]}
    assert container["resources"]["limits"] == limits
    serving = yaml.safe_load(files["compose.yaml"])["services"]["serving"]
    assert serving["deploy"]["resources"]["limits"] == {"cpus": cpus, "memory": memory}


def test_the_committed_example_is_up_to_date(repository_root: Path) -> None:
    settings = repository_root / "serving/deploy/example.yaml"
    folder = repository_root / "serving/deploy/example"
    committed = {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert committed == render(load_section(Deployment, settings)), (
        "render anew: python -m serving deploy --config serving/deploy/example.yaml "
        "--out serving/deploy/example"
    )
