from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.__main__ import main
from serving.deploy.rendering import render, write_files
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN, TWO_TRACKS


def instructions(deployment: Deployment) -> str:
    return render(deployment)["README.md"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_files_that_it_names_are_rendered(deployment: Deployment) -> None:
    table = instructions(deployment).split("| --- | --- |\n")[1].split("\n\n")[0]
    paths = set(render(deployment))
    named = re.findall(r"`([\w./]+)`", " ".join(row.split("|")[1] for row in table.splitlines()))
    assert "settings.yaml" in named
    for name in named:
        assert any(path == name or path.startswith(name) for path in paths), name


def served(folder: Path) -> tuple[dict[str, int], list[int]]:
    text = (folder / "server" / "models.config").read_text(encoding="utf-8")
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return dict(model.version_labels), list(model.model_version_policy.specific.versions)


def test_its_way_from_canary_to_stable_can_be_gone(tmp_path: Path) -> None:
    write_files(tmp_path, render(PLAIN))
    steps = [
        line.strip().replace("DIR", str(tmp_path))
        for line in instructions(PLAIN).splitlines()
        if line.startswith("       python -m serving deploy")
    ]
    states = []
    for step in steps:
        program, _, arguments = step.partition(" -m serving ")
        assert program == "python"
        assert main(shlex.split(arguments)) == 0
        states.append(served(tmp_path))
    assert states == [
        ({"stable": 1, "canary": 2}, [1, 2]),
        ({"stable": 2, "canary": 2}, [1, 2]),
        ({"stable": 2}, [2]),
    ]


def test_its_way_back_can_be_gone(tmp_path: Path) -> None:
    promoted = Deployment(model_name="movies", stable=2, canary=2, also_loaded=(1,))
    write_files(tmp_path, render(promoted))
    assert "Back from 4 at once: `stable=1`" in instructions(PLAIN)
    arguments = ["--config", f"{tmp_path}/settings.yaml", "--out", str(tmp_path), "stable=1"]
    assert main(["deploy", *arguments]) == 0
    assert served(tmp_path) == ({"stable": 1, "canary": 2}, [1, 2])


def test_it_speaks_of_the_deployment() -> None:
    text = instructions(FULL)
    assert "kubectl --namespace ranking rollout status deployment/rank-movies" in text
    assert "/api/v1/namespaces/ranking/pods/" in text
    assert "dns:///rank-movies-headless:9000" in text
    assert "`batching.config`" not in text and "trades; in use" in text
    assert "MODEL_FOLDER=" in text
    assert "MODEL_FOLDER" not in instructions(IN_A_BUCKET)
    assert "must be allowed to read" in instructions(IN_A_BUCKET)


def test_the_first_rollout_follows_the_source_of_the_models() -> None:
    job = yaml.safe_load(render(PLAIN)["kubernetes/loader.yaml"])["metadata"]["name"]
    assert f"kubectl exec --stdin job/{job} -- sh -c" in instructions(PLAIN)
    assert f"kubectl wait --for=condition=complete --timeout=30m job/{job}" in instructions(PLAIN)
    assert "It copies s3://bucket/movies/3" in instructions(FULL)
    assert "`reader`, or of the Secret" in " ".join(instructions(FULL).split())
    assert "oras push registry.example.com/models/movies:1 1" in instructions(TWO_TRACKS)
    for deployment in (FULL, IN_A_BUCKET, TWO_TRACKS):
        assert "kubectl exec" not in instructions(deployment)
    own = Deployment.model_validate(
        {"model_name": "m", "stable": 5, "storage": {"access_mode": "ReadOnlyMany", "source": None}}
    )
    assert "**Fill the volume** `models`" in instructions(own)
    for deployment in (own, IN_A_BUCKET):
        assert "kubectl wait" not in instructions(deployment)


def test_the_second_track_can_be_rendered_and_taken_away(tmp_path: Path) -> None:
    write_files(tmp_path, render(PLAIN))
    text = instructions(PLAIN).split("## A second Deployment")[1].split("\n## ")[0]
    text = text.replace("\\\n", " ").replace("DIR", str(tmp_path))
    steps = [line.strip() for line in text.splitlines() if line.startswith("    python -m serving")]
    assert len(steps) == 2
    rendered = []
    for step in steps:
        assert main(shlex.split(step.partition(" -m serving ")[2])) == 0
        rendered.append((tmp_path / "kubernetes/canary-deployment.yaml").exists())
    assert rendered == [True, False]
    assert "kubectl delete deployment,configmap movies-serving-canary" in text


def test_canary_and_latest_are_told_apart() -> None:
    text = " ".join(instructions(PLAIN).split())
    assert "names neither label nor version gets the highest loaded version" in text
