"""The pipelines through Beam's portable protocol, with workers that share nothing but a store.

A job service and a worker pool run as processes of their own, in another folder. Inputs and
staging are URLs of a file system that stands for an object store.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import yaml

from configs.loading import load_scenario
from configs.scenario import Scenario
from preprocessing.beam_options import BeamOptions
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from tests.killing import checksums
from tests.ports import free_ports, is_open
from tests.preprocessing import shared_file_system
from tests.scenarios import write_tiny_inputs
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder behind `shared://`."""
    folder = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(shared_file_system.FOLDER_VARIABLE, str(folder))
        yield folder


@pytest.fixture(scope="module")
def portable(
    repository_root: Path, store: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BeamOptions]:
    """A running job service with external workers."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    # Workers of this pool load no Beam plugins, so Python itself loads the file system.
    (elsewhere / "sitecustomize.py").write_text(f"import {shared_file_system.__name__}\n")
    environment = os.environ | {
        "PYTHONPATH": f"{elsewhere}{os.pathsep}{repository_root}",
        # The worker pool starts workers with the `python` that it finds.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with free_ports(2) as ports:
        job_port, worker_port = ports
    runners = "apache_beam.runners"
    commands = [
        [f"{runners}.portability.local_job_service_main", "--port", str(job_port)],
        [f"{runners}.worker.worker_pool_main", "--service_port", str(worker_port)],
    ]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=elsewhere,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for command in commands
    ]
    try:
        for port in (job_port, worker_port):
            wait_until(partial(is_open, port))
        yield BeamOptions(
            "PortableRunner",
            (
                f"job_endpoint=localhost:{job_port}",
                "environment_type=EXTERNAL",
                f"environment_config=localhost:{worker_port}",
            ),
            staging="shared://staging",
        )
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


@pytest.fixture(scope="module")
def scenario_file(store: Path) -> Path:
    """A tiny scenario whose inputs are URLs."""
    inputs = store / "inputs"
    inputs.mkdir()
    config = write_tiny_inputs(inputs)
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(str(inputs), "shared://inputs"), encoding="utf-8")
    assert "shared://inputs/ratings.csv" in yaml.safe_dump(yaml.safe_load(config.read_text()))
    return config


def _scenario(config: Path, work: Path) -> Scenario:
    return load_scenario(config, [f"work_dir={work}", "data.examples=[ctr, rerank, retrieval]"])


@pytest.mark.parametrize("step", [encode, build_examples])
def test_workers_elsewhere_write_the_same_records(
    step, portable: BeamOptions, scenario_file: Path, store: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    inside = step(_scenario(scenario_file, here))
    outside = step(_scenario(scenario_file, there), beam=portable)
    assert outside["records_out"] == inside["records_out"] > 0
    expected = checksums(here)
    assert any(path.endswith(".tfrecord.gz") for path in expected)
    assert checksums(there) == expected
    assert not list((store / "staging").rglob("*.tfrecord.gz"))
    shutil.rmtree(store / "staging", ignore_errors=True)


@pytest.mark.parametrize("step", [encode, build_examples])
def test_relative_paths_mean_the_same_to_workers_in_another_folder(
    step, portable: BeamOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_tiny_inputs(tmp_path)
    config.write_text(config.read_text(encoding="utf-8").replace(f"{tmp_path}/", ""))
    monkeypatch.chdir(tmp_path)
    step(_scenario(config, Path("here")))
    step(_scenario(config, Path("there")), beam=replace(portable, staging=None))
    assert checksums(tmp_path / "there") == checksums(tmp_path / "here")
