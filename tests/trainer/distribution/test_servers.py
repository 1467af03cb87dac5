from __future__ import annotations

import itertools
import socket
from pathlib import Path

import pytest
import tensorflow as tf

from configs.command_line import CommandError
from tests.ports import free_ports
from tests.trainer.distribution.processes import Processes
from trainer.distribution import processes as serving
from trainer.distribution.cluster import Cluster
from trainer.run_folder import RunFolder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("job", "left"), [("worker", "run/metrics.json"), ("ps", ".run.unfinished/x"), ("worker", "x")]
)
def test_a_server_ends_after_its_chief(
    job: str, left: str, tmp_path: Path, repository_root: Path
) -> None:
    run = tmp_path / "run"
    with free_ports(2) as ports:
        other, own = (f"localhost:{port}" for port in ports)
    with Processes(repository_root, tmp_path) as processes, socket.socket() as chief:
        chief.bind(("localhost", 0))
        chief.listen()
        address = f"localhost:{chief.getsockname()[1]}"
        cluster = {"chief": [address], "worker": [other], "ps": [other]}
        cluster[job] = [own]
        process = processes.start(
            run,
            {"training.distribution": "parameter_server"},
            {"cluster": cluster, "task": {"type": job, "index": 0}},
        )
        chief.accept()
        (tmp_path / left).parent.mkdir(exist_ok=True)
        (tmp_path / left).write_text("{}")
        chief.close()
        code, message = process.wait()
    assert f"{job} 0: serves at grpc://{own}" in message
    has_finished = left == "run/metrics.json"
    assert code == (0 if has_finished else 1)
    ending = "has ended" if has_finished else "is gone and has not finished (no run in"
    assert f"{job} 0: the chief" in message and ending in message


def test_a_run_of_before_is_none_of_this_chief(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under --force: only what the chief has written since counts."""
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.metrics.write_text("{}")
    cluster = Cluster({"chief": ("a:1",), "worker": ("b:1",), "ps": ("c:1",)}, "worker", 0)
    monkeypatch.setattr(tf.distribute, "Server", lambda *_, **__: cluster)
    monkeypatch.setattr(Cluster, "target", "grpc://b:1", raising=False)
    monkeypatch.setattr(serving, "_ASK_SECONDS", 0.001)
    monkeypatch.setattr(serving, "_GONE_SECONDS", 0.01)

    def chief_that(write: bool) -> None:
        calls = itertools.count()

        def is_reachable(address: str) -> bool:
            first = next(calls) == 0
            if first and write:
                (tmp_path / "new").write_text("{}")
                (tmp_path / "new").rename(folder.metrics)
            return first

        monkeypatch.setattr(serving, "_is_reachable", is_reachable)

    chief_that(write=False)
    with pytest.raises(CommandError, match=r"has not finished \(only the run of before in"):
        serving.serve_chief(cluster, folder)
    chief_that(write=True)
    serving.serve_chief(cluster, folder)
