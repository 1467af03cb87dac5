from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.trainer.distribution.processes import Processes

pytestmark = pytest.mark.slow


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
