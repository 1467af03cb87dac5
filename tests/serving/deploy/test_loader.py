"""What brings a version to the volume, and what waits for it: both scripts run as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from serving.deploy.rendering import render
from serving.deploy.settings import CanaryTrack, Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN, TWO_TRACKS
from tests.serving.deploy.schemas import documents_of
from tests.waiting import LONGEST_SECONDS

LONGEST_NAME = 63


def deployment_from(source: str | None, **values: object) -> Deployment:
    return Deployment.model_validate(
        {"model_name": "movies", "stable": 1, "storage": {"source": source}} | values
    )


def job_of(deployment: Deployment) -> dict[str, Any]:
    (job,) = documents_of(render(deployment)["kubernetes/loader.yaml"])
    return job


def container_of(deployment: Deployment) -> dict[str, Any]:
    (container,) = job_of(deployment)["spec"]["template"]["spec"]["containers"]
    return container


def variables_of(deployment: Deployment) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container_of(deployment)["env"]}


def test_the_loader_is_there_where_a_volume_is_to_be_filled() -> None:
    assert "kubernetes/loader.yaml" in render(PLAIN)
    assert "kubernetes/loader.yaml" not in render(IN_A_BUCKET)
    assert "kubernetes/loader.yaml" not in render(deployment_from(None))


def test_a_job_is_never_changed_but_made_anew_under_another_name() -> None:
    jobs = [
        job_of(deployment_from("gs://b/m", **values))
        for values in (
            {},
            {"stable": 2},
            {"canary": 2},
            {"canary_track": {"version": 3}},
            {"kubernetes": {"service_account": "reader"}},
            {"kubernetes": {"namespace": "ranking"}},
        )
    ]
    jobs.append(job_of(deployment_from("gs://b/other")))
    specifications = {str(job["spec"]): job["metadata"]["name"] for job in jobs[:5]}
    assert len(specifications) == len(set(specifications.values())) == 5
    assert len({job["metadata"]["name"] for job in jobs}) == 7
    # What the loader does not depend on leaves it alone.
    same = deployment_from("gs://b/m", resources={"cpu": 7}, batching={"enabled": True})
    assert job_of(same) == jobs[0]
    longest = deployment_from("gs://b/m", name="a" * 50)
    assert len(job_of(longest)["metadata"]["name"]) <= LONGEST_NAME


def test_where_versions_come_from() -> None:
    assert '"s3' not in container_of(FULL)["command"][2]
    assert '":s3:bucket/movies/$version"' in container_of(FULL)["command"][2]
    assert container_of(FULL)["image"].startswith("rclone/rclone:")
    assert variables_of(FULL)["RCLONE_S3_PROVIDER"] == "Minio"
    assert container_of(FULL)["envFrom"] == [{"secretRef": {"name": "bucket-keys"}}]
    bucket = deployment_from("gs://b/m")
    assert '":gcs:b/m/$version"' in container_of(bucket)["command"][2]
    assert variables_of(bucket)["RCLONE_GCS_ENV_AUTH"] == "true"
    assert "envFrom" not in container_of(bucket)
    assert '"registry.example.com/models/movies:$version"' in container_of(TWO_TRACKS)["command"][2]
    assert container_of(TWO_TRACKS)["image"].startswith("ghcr.io/oras-project/oras:")
    volumes = job_of(TWO_TRACKS)["spec"]["template"]["spec"]["volumes"]
    assert volumes[-1]["secret"]["secretName"] == "registry-login"
    assert "envFrom" not in container_of(TWO_TRACKS)


@pytest.mark.parametrize("folder", ["/mnt/models", "/models", "/tmp", "/bin"])
def test_a_folder_of_the_node_hides_nothing_of_the_loader(folder: str) -> None:
    node = job_of(deployment_from(folder))["spec"]["template"]["spec"]
    assert node["volumes"][-1] == {
        "name": "source",
        "hostPath": {"path": folder, "type": "Directory"},
    }
    mounts = {one["mountPath"]: one for one in node["containers"][0]["volumeMounts"]}
    assert list(mounts) == ["/models", "/tmp", "/source"] and mounts["/source"]["readOnly"]
    assert 'copy --verbose "/source/$version"' in node["containers"][0]["command"][2]


@pytest.mark.parametrize(
    "source",
    ["upload", "gs://b/m", "s3://b/m", "oci://r/m", "oci://localhost:5000/a/m", "/mnt/models"],
)
def test_all_versions_are_brought(source: str) -> None:
    deployment = deployment_from(source, also_loaded=[7], canary_track={"version": 12})
    assert "for version in 1 7 12; do" in container_of(deployment)["command"][2]


@pytest.mark.parametrize(
    "deployment",
    [one for one in DEPLOYMENTS.values() if one.storage.has_loader],
    ids=[name for name, one in DEPLOYMENTS.items() if one.storage.has_loader],
)
def test_the_loader_writes_and_replicas_read_the_same_volume(deployment: Deployment) -> None:
    (workload,) = documents_of(render(deployment)["kubernetes/deployment.yaml"])
    pods = [workload["spec"]["template"], job_of(deployment)["spec"]["template"]]
    claims = [
        volume["persistentVolumeClaim"]["claimName"]
        for pod in pods
        for volume in pod["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    ]
    assert claims == [deployment.storage.claim] * 2
    (mount,) = [one for one in container_of(deployment)["volumeMounts"] if one["name"] == "models"]
    assert mount == {"name": "models", "mountPath": "/models"}
    # Services and the selector of the replicas must not find the loader.
    labels = [pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods]
    assert labels == ["model-server", "model-loader"]


def test_a_volume_of_one_node_brings_everybody_there() -> None:
    def affinities(deployment: Deployment) -> list[Any]:
        files = render(deployment)
        pods = [
            documents_of(text)[0]["spec"]["template"]
            for path, text in files.items()
            if path.endswith(("deployment.yaml", "loader.yaml"))
        ]
        terms = [pod["spec"].get("affinity", {}).get("podAffinity") for pod in pods]
        for pod, term in zip(pods, terms, strict=True):
            if term is not None:
                ((one,),) = term.values()
                chosen = one["labelSelector"]["matchLabels"]
                # A term that its own pod fits lets the first one in.
                assert chosen.items() <= pod["metadata"]["labels"].items()
        return terms

    assert len(affinities(TWO_TRACKS)) == 3 and all(affinities(TWO_TRACKS))
    assert len(affinities(PLAIN)) == 2 and all(affinities(PLAIN))
    assert affinities(FULL) == [None, None]
    assert affinities(IN_A_BUCKET) == [None]


# The program that the image has, as far as the script needs it: folders stand for addresses.
_RCLONE = """#!/bin/sh
[ "$1 $2" = "copy --verbose" ] || exit 64
from=$(echo "$3" | sed "s|^:gcs:|$BUCKETS/|")
[ -d "$from" ] || { echo "directory not found" >&2; exit 3; }
mkdir -p "$4" && cp -r "$from/." "$4"
"""
_ORAS = """#!/bin/sh
[ "$1 $2" = "pull --output" ] || exit 64
from=$BUCKETS/${4%:*}; version=${4##*:}
[ -d "$from/$version" ] || { echo "not found" >&2; exit 1; }
mkdir -p "$3" && cp -r "$from/$version" "$3/$version"
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("rclone", _RCLONE), ("oras", _ORAS)):
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"
    return {"PATH": path, "BUCKETS": str(tmp_path / "buckets"), "HOSTNAME": "loader-x"}


def write_version(base: Path, version: int, text: str = "model") -> None:
    (base / str(version) / "variables").mkdir(parents=True)
    (base / str(version) / "saved_model.pb").write_text(text, encoding="utf-8")
    (base / str(version) / "variables" / "variables.index").write_text(text, encoding="utf-8")


def contents(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def script(deployment: Deployment, volume: Path) -> list[str]:
    shell, option, text = container_of(deployment)["command"]
    text = text.replace('"/source/', f'"{deployment.storage.source}/')
    return [shell, option, text.replace("/models", str(volume)).replace("sleep 2", "sleep 0.05")]


def load(
    deployment: Deployment, volume: Path, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    command = script(deployment, volume)
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=LONGEST_SECONDS
    )


@pytest.mark.parametrize("source", ["gs://bucket/m", "oci://bucket/m", "folder"])
def test_what_lacks_comes_and_what_is_there_stays(
    tmp_path: Path, environment: dict[str, str], source: str
) -> None:
    bucket, volume = tmp_path / "buckets/bucket/m", tmp_path / "volume"
    write_version(bucket, 1)
    write_version(bucket, 2, "new")
    write_version(volume, 1, "old")
    source = str(bucket) if source == "folder" else source
    done = load(deployment_from(source, canary=2), volume, environment)
    assert done.returncode == 0, done.stderr
    assert "version 1 is there" in done.stdout and "version 2 has come" in done.stdout
    files = ["saved_model.pb", "variables", "variables/variables.index"]
    assert contents(volume) == ["1", *(f"1/{file}" for file in files)] + [
        "2",
        *(f"2/{file}" for file in files),
    ]
    assert (volume / "1/saved_model.pb").read_text() == "old"
    assert (volume / "2/saved_model.pb").read_text() == "new"
    again = load(deployment_from(source, canary=2), volume, environment)
    assert again.returncode == 0 and "version 2 is there" in again.stdout


def test_half_a_version_never_gets_its_number(tmp_path: Path, environment: dict[str, str]) -> None:
    bucket, volume = tmp_path / "buckets/bucket/m", tmp_path / "volume"
    (bucket / "1").mkdir(parents=True)
    (bucket / "1" / "fingerprint.pb").write_text("", encoding="utf-8")
    volume.mkdir()
    deployment = deployment_from("gs://bucket/m")
    failed = load(deployment, volume, environment)
    assert failed.returncode == 1
    assert "version 1: what came has no 1/saved_model.pb" in failed.stderr
    assert not (volume / "1").exists()
    (bucket / "1" / "saved_model.pb").write_text("", encoding="utf-8")
    assert load(deployment, volume, environment).returncode == 0
    assert contents(volume) == ["1", "1/fingerprint.pb", "1/saved_model.pb"]


def test_a_source_without_the_version_fails(tmp_path: Path, environment: dict[str, str]) -> None:
    for source in ("gs://bucket/m", "oci://bucket/m"):
        failed = load(deployment_from(source), tmp_path, environment)
        assert failed.returncode != 0 and "not found" in failed.stderr


def test_what_a_lost_loader_left_goes_after_a_day(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    bucket, volume = tmp_path / "buckets/bucket/m", tmp_path / "volume"
    write_version(bucket, 1)
    old, new = volume / ".9.loader-a.unfinished", volume / ".9.loader-b.unfinished"
    for folder in (old, new):
        folder.mkdir(parents=True)
    days_ago = time.time() - 3 * 86_400
    os.utime(old, (days_ago, days_ago))
    assert load(deployment_from("gs://bucket/m"), volume, environment).returncode == 0
    assert not old.exists() and new.exists() and (volume / "1/saved_model.pb").exists()


def upload_commands(deployment: Deployment) -> list[str]:
    """What the rendered instructions say, from the version's name to the last line."""
    text = render(deployment)["README.md"].split("is sent to it")[1].split("What it does")[0]
    return [line.strip() for line in text.splitlines() if line.startswith("       ")]


def test_a_version_can_be_sent_as_the_instructions_say(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    export, volume = tmp_path / "export", tmp_path / "volume"
    write_version(export, 1)
    volume.mkdir()
    with subprocess.Popen(
        script(PLAIN, volume), env=environment, stdout=subprocess.PIPE, text=True
    ) as loader:
        assert loader.stdout is not None
        assert "waiting for version 1" in loader.stdout.readline()
        assert loader.poll() is None and contents(volume) == []
        commands = "\n".join(upload_commands(PLAIN))
        name = job_of(PLAIN)["metadata"]["name"]
        # kubectl exec runs its command in the loader; here both are this machine.
        local, number = re.subn(rf"kubectl exec --stdin job/{name} -- ", "", commands)
        assert number == 1
        local = local.replace("/models", str(volume)).replace("/path/of/export", str(export))
        subprocess.run(["bash", "-ec", local], env=environment, check=True, timeout=LONGEST_SECONDS)
        assert loader.wait(timeout=LONGEST_SECONDS) == 0
    assert (volume / "1/variables/variables.index").is_file()
    assert not list(volume.glob(".*unfinished")) and contents(volume / ".upload") == []


def test_a_replica_waits_for_the_version_that_is_stable(tmp_path: Path) -> None:
    (workload,) = documents_of(render(PLAIN)["kubernetes/deployment.yaml"])
    (waiting,) = workload["spec"]["template"]["spec"]["initContainers"]
    shell, option, text = waiting["command"]
    config, volume = tmp_path / "config", tmp_path / "volume"
    config.mkdir()
    write_version(volume, 3)
    moved = Deployment(model_name="movies", stable=12, canary=3)
    (config / "models.config").write_text(render(moved)["server/models.config"], encoding="utf-8")
    text = text.replace("/etc/tensorflow-serving", str(config)).replace("sleep 5", "sleep 0.05")
    text = text.replace(PLAIN.storage.path, str(volume))
    with subprocess.Popen([shell, option, text], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "waiting for version 12 in" in process.stdout.readline()
        assert process.poll() is None
        write_version(volume, 12)
        assert process.wait(timeout=LONGEST_SECONDS) == 0


def test_nothing_waits_where_the_server_reads_a_bucket() -> None:
    (workload,) = documents_of(render(IN_A_BUCKET)["kubernetes/deployment.yaml"])
    assert "initContainers" not in workload["spec"]["template"]["spec"]


def test_moving_the_label_starts_no_replica_anew() -> None:
    def pod(**values: object) -> object:
        (workload,) = documents_of(
            render(Deployment.model_validate({"model_name": "movies", "stable": 1} | values))[
                "kubernetes/deployment.yaml"
            ]
        )
        return workload["spec"]["template"]

    assert pod() == pod(stable=2, also_loaded=[1]) == pod(canary=5)


def test_another_version_of_the_second_track_replaces_its_replicas_only() -> None:
    """A server refuses to move a label in use to a version that it has not loaded."""

    def pods(version: int) -> dict[str, object]:
        files = render(
            Deployment(model_name="movies", stable=1, canary_track=CanaryTrack(version=version))
        )
        names = ("deployment", "canary-deployment")
        documents = [documents_of(files[f"kubernetes/{name}.yaml"])[0] for name in names]
        return {one["metadata"]["name"]: one["spec"]["template"] for one in documents}

    before, after = pods(2), pods(3)
    assert before["movies-serving"] == after["movies-serving"]
    assert before["movies-serving-canary"] != after["movies-serving-canary"]
    assert pods(2) == before
