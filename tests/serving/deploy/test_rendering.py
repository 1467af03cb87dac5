from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs.command_line import CommandError
from configs.loading import ConfigurationError, load_section
from serving.deploy.rendering import (
    SETTINGS_FILE,
    TEMPLATE,
    left_behind,
    missing_version,
    next_steps,
    render,
    require_safe_labels,
    settings_in,
    write_files,
)
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN, TWO_TRACKS


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
    assert {"model-2024", "2.21"} <= set(actual)
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
    committed = contents(repository_root / "serving/deploy/example")
    assert committed == render(load_section(Deployment, settings)), (
        "render anew: python -m serving deploy --config serving/deploy/example.yaml "
        "--out serving/deploy/example"
    )


def versions(stable: int, canary: int | None = None, *also_loaded: int) -> Deployment:
    return Deployment(model_name="movies", stable=stable, canary=canary, also_loaded=also_loaded)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (versions(3), versions(3)),
        # A label that nobody uses yet may name a version that loads with the same file.
        (versions(3), versions(3, 4)),
        (versions(3, 4), versions(4, 4, 3)),
        (versions(4, 4, 3), versions(3, 4)),
        (versions(4, 4, 3), versions(4)),
        (versions(3, None, 4), versions(4)),
        (versions(3, 4, 5), versions(3, 5)),
        (versions(3, 4), versions(3)),
    ],
)
def test_moves_that_the_server_takes(before: Deployment, after: Deployment) -> None:
    require_safe_labels(before, after)


@pytest.mark.parametrize(
    ("before", "after", "label"),
    [
        (versions(3), versions(4), "stable"),
        (versions(3), versions(4, None, 3), "stable"),
        (versions(3, 4), versions(3, 5), "canary"),
        (versions(3, 4), versions(5, 4), "stable"),
    ],
)
def test_moves_that_the_server_refuses(before: Deployment, after: Deployment, label: str) -> None:
    with pytest.raises(CommandError, match=f"label '{label}' cannot move"):
        require_safe_labels(before, after)


def test_the_message_names_a_way_that_works() -> None:
    with pytest.raises(CommandError) as raised:
        require_safe_labels(versions(3), versions(4))
    assert "stable=3 also_loaded=[4]" in str(raised.value)
    loading = versions(3, None, 4)
    require_safe_labels(versions(3), loading)
    require_safe_labels(loading, versions(4))


def test_another_model_has_no_labels_in_use() -> None:
    require_safe_labels(versions(3), Deployment(model_name="books", stable=9))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, versions(3), []),
        (versions(3), versions(3, 4), ["wait until version 4 is AVAILABLE"]),
        (versions(3), versions(3, 4, 5), ["wait until version 4, 5 is AVAILABLE"]),
        (versions(4, 4, 3), versions(4), ["version 3 is unloaded"]),
        (versions(3), versions(3), []),
    ],
)
def test_next_steps(before: Deployment | None, after: Deployment, expected: list[str]) -> None:
    steps = next_steps(before, after)
    assert len(steps) == len(expected)
    for step, beginning in zip(steps, expected, strict=True):
        assert step.startswith(beginning)


def test_batching_is_warned_of() -> None:
    values: dict[str, Any] = {"model_name": "movies", "stable": 1, "batching": {"enabled": True}}
    (step,) = next_steps(None, Deployment.model_validate(values))
    assert "'rank' will be refused" in step


def test_what_an_apply_would_leave_running_is_told() -> None:
    before = render(TWO_TRACKS)
    one_track = TWO_TRACKS.model_copy(update={"canary_track": PLAIN.canary_track})
    tracks = ["configmap/movies-serving-canary", "deployment/movies-serving-canary"]
    assert left_behind(before, render(one_track)) == tracks
    assert left_behind(render(one_track), before) == []
    fixed = PLAIN.model_copy(update={"autoscaling": FULL.autoscaling})
    assert left_behind(render(PLAIN), render(fixed)) == ["horizontalpodautoscaler/movies-serving"]
    # A volume keeps its data, and a loader that is done goes by itself.
    assert left_behind(render(PLAIN), render(IN_A_BUCKET)) == []
    assert left_behind({}, before) == []


def test_what_a_component_made_is_told() -> None:
    def with_components(*names: str, **values: object) -> dict[str, str]:
        kubernetes = {"components": names} | values
        return render(
            Deployment.model_validate(
                {"model_name": "movies", "stable": 1, "kubernetes": kubernetes}
            )
        )

    before = with_components("gateway", "network-policy")
    assert left_behind(before, with_components("network-policy")) == [
        "service/movies-serving-stable",
        "service/movies-serving-canary",
        "httproute/movies-serving",
        "grpcroute/movies-serving",
    ]
    assert left_behind(before, with_components("gateway")) == ["networkpolicy/movies-serving"]
    # The component for small clusters takes the autoscaler away.
    small = with_components("small-cluster")
    assert left_behind(with_components(), small) == ["horizontalpodautoscaler/movies-serving"]
    assert left_behind(small, with_components()) == []
    elsewhere = with_components("gateway", "network-policy", namespace="ranking")
    assert len(left_behind(before, elsewhere)) == 11


def test_the_version_that_compose_needs_is_looked_for(tmp_path: Path) -> None:
    folder = tmp_path / "deploy"
    assert missing_version(folder, PLAIN) == tmp_path / "export" / "1"
    (tmp_path / "export" / "1").mkdir(parents=True)
    folder.mkdir()
    assert missing_version(folder, PLAIN) is None
    assert missing_version(folder, IN_A_BUCKET) is None


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_written_and_only_changed_ones_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    written = write_files(folder, {"x.yaml": "1", "c/y.yaml": "ä"})
    assert written == (["x.yaml", "c/y.yaml"], [], [])
    assert contents(folder) == {"x.yaml": "1", "c/y.yaml": "ä"}
    untouched = (folder / "x.yaml").stat().st_mtime_ns
    before = contents(folder)
    written = write_files(folder, {"x.yaml": "1", "c/y.yaml": "2"}, before)
    assert written == (["c/y.yaml"], ["x.yaml"], [])
    assert (folder / "x.yaml").stat().st_mtime_ns == untouched


def test_folders_stay_so_that_a_mounted_one_sees_the_new_file(tmp_path: Path) -> None:
    write_files(tmp_path, {"server/models.config": "1"})
    inode = (tmp_path / "server").stat().st_ino
    write_files(tmp_path, {"server/models.config": "2"}, {"server/models.config": "1"})
    assert (tmp_path / "server").stat().st_ino == inode
    assert contents(tmp_path) == {"server/models.config": "2"}


def test_files_that_are_no_longer_rendered_go(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": "1", "b": "2"})
    written = write_files(tmp_path, {"a": "1"}, {"a": "1", "b": "2"})
    assert written == ([], ["a"], ["b"])
    assert contents(tmp_path) == {"a": "1"}


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": "1"})
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(CommandError, match="notes.txt"):
        write_files(tmp_path, {"a": "2"}, {"a": "1"})
    assert contents(tmp_path) == {"a": "1", "notes.txt": "mine"}


def test_many_files_of_others_are_counted(tmp_path: Path) -> None:
    for name in "abcde":
        (tmp_path / name).write_text("", encoding="utf-8")
    with pytest.raises(CommandError, match=r"\(a, b, c and 2 more\)"):
        write_files(tmp_path, {})


@pytest.mark.parametrize("deployment", [PLAIN, FULL, IN_A_BUCKET])
def test_a_rendered_folder_knows_its_settings(tmp_path: Path, deployment: object) -> None:
    assert settings_in(tmp_path / "missing") is None
    assert settings_in(tmp_path) is None
    write_files(tmp_path, render(deployment))  # type: ignore[arg-type]
    assert settings_in(tmp_path) == deployment


def test_folders_of_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {}", encoding="utf-8")
    with pytest.raises(CommandError, match="holds other things"):
        settings_in(tmp_path)
    with pytest.raises(CommandError, match="is a file"):
        settings_in(tmp_path / "compose.yaml")


def test_settings_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("stable: many", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="settings.yaml: stable"):
        settings_in(tmp_path)
