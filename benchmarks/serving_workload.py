"""Exports to measure serving with, a server as a process of its own, and requests for both."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.loading import load_scenario
from serving.client import RankingClient
from serving.client.errors import ModelAddress
from serving.client.inputs import ModelInputs
from serving.loadtest.requests import (
    RequestSource,
    check_response,
    requests_of_examples,
    serialized_requests,
)

BASELINE = "none"

_ROOT = Path(__file__).resolve().parents[1]
_ENVIRONMENT = os.environ | {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "2"}


@dataclass(frozen=True)
class Exports:
    """Exports of the same backbone with and without knowledge.

    Attributes:
      bases: arm -> model base path.
      versions: arm -> version folder.
      source: users and items to ask with.
    """

    bases: Mapping[str, Path]
    versions: Mapping[str, Path]
    source: RequestSource


def exports_of_runs(
    runs: Path, config: str, backbone: str, seed: int, folder: Path, users: int
) -> Exports:
    """Exports the runs `BACKBONE_ARM_seedN` of a folder, as `trainer experiment` names them.

    Arms of the scenario's experiment that are not there are left out.

    Raises:
      SystemExit: the run without knowledge is not there.
    """
    arms = load_scenario(config).experiment.arms
    run_folders = {arm: runs / f"{backbone}_{arm}_seed{seed}" for arm in arms}
    run_folders = {arm: run for arm, run in run_folders.items() if (run / "metrics.json").is_file()}
    if BASELINE not in run_folders:
        raise SystemExit(f"{runs}: has no finished run {backbone}_{BASELINE}_seed{seed}")
    bases = {arm: folder / arm for arm in run_folders}
    versions = {}
    for arm, run in run_folders.items():
        result = _program(["-m", "serving", "export", str(run), "--out", str(bases[arm]), "--json"])
        versions[arm] = Path(str(result["path"]))
    return Exports(bases, versions, requests_of_examples(str(run_folders[BASELINE]), users))


def train_runs(work_dir: str, config: str, backbone: str, seed: int, folder: Path) -> None:
    """Trains every arm for one epoch: how fast a model serves does not depend on how good it is."""
    for arm, described in load_scenario(config).experiment.arms.items():
        overrides = [f"{key}={json.dumps(value)}" for key, value in described.overrides.items()]
        _program(
            ["-m", "trainer", "train", "--config", config, f"work_dir={work_dir}"]
            + [f"run_dir={folder / f'{backbone}_{arm}_seed{seed}'}", f"model.backbone={backbone}"]
            + [*overrides, "training.epochs=1", f"training.seed={seed}", "--json"]
        )


@dataclass(frozen=True)
class ServerProcess:
    """A server that runs.

    Attributes:
      target: its gRPC address, `host:port`.
      rest_url: its REST address, `http://host:port`.
      pid: its process.
    """

    target: str
    rest_url: str
    pid: int


@contextlib.contextmanager
def serving(bases: Mapping[str, Path], *options: str) -> Iterator[ServerProcess]:
    """A server over model base paths, until the end of the block."""
    models = [f"--model={name}={base}" for name, base in bases.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "serve", *models, "--grpc-port=0", "--rest-port=0"]
        + ["--json", *options],
        cwd=_ROOT,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit("the server did not start")
        ready = json.loads(line)
        yield ServerProcess(
            target=f"127.0.0.1:{ready['grpc_port']}",
            rest_url=f"http://127.0.0.1:{ready['rest_port']}",
            pid=process.pid,
        )
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def requests_for(
    target: str, model: str, source: RequestSource, signature: str, candidates: int, seed: int
) -> list[bytes]:
    """One serialized request for each user of a source, after one was answered well."""
    with RankingClient(target, model, timeout_seconds=60) as client:
        client.wait_until_ready()
        model_inputs = ModelInputs.of_kinds(client.input_kinds(signature))
        check_response(client, source, signature, candidates)
    address = ModelAddress(target, model)
    return serialized_requests(address, model_inputs, source, signature, candidates, seed)


def _program(words: Sequence[str]) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=_ROOT,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
