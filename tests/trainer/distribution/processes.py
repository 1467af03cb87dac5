"""Trainings in processes of their own on this machine, none of which outlives its test."""

from __future__ import annotations

import csv
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_ports
from tests.scenarios import tiny_config

EXACT = {
    "model.match": "ridge",
    "model.dropout_rate": 0,
    "model.id_dropout_rate": 0,
    "model.knowledge_dropout_rate": 0,
}
"""DIN with HEIN and knowledge match over the tiny scenario, with nothing random in a step."""

_RUN_COMMAND = "import sys; from trainer.__main__ import main; sys.exit(main())"
_LONGEST_SECONDS = 500
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Process:
    """A command that was started; its messages go to a file.

    Attributes:
      again: starts the same command once more, at the same address of its cluster.
    """

    popen: subprocess.Popen[bytes]
    messages: Path
    again: Callable[[], Process]

    def wait(self) -> tuple[int, str]:
        """Exit code, negative after a signal, and what it printed for people."""
        code = self.popen.wait(_LONGEST_SECONDS)
        return code, self.messages.read_text(encoding="utf-8", errors="replace")

    def kill(self) -> None:
        """Ends it as a power cut would."""
        os.killpg(self.popen.pid, signal.SIGKILL)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits for something to happen while the process is alive."""
        while not condition():
            assert self.popen.poll() is None, self.wait()
            time.sleep(_POLL_SECONDS)


class Processes:
    """`python -m trainer train` over the tiny scenario.

    Args:
      root: of the repository.
      folder: for messages.
      first: Python statements that every process runs before the command.
    """

    def __init__(self, root: Path, folder: Path, first: str = ""):
        self._root = root
        self._folder = folder
        self._program = ["-c", f"{first}\n{_RUN_COMMAND}"]
        self._stack = ExitStack()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def start(
        self, run: Path, changes: Mapping[str, object], task: Mapping[str, object] | None = None
    ) -> Process:
        """Starts one training, as a task of a cluster if there is one."""
        overrides = {"run_dir": str(run), **changes}
        messages = self._folder / f"{run.name}-{time.monotonic_ns()}.txt"
        environment = {**os.environ, "PYTHONPATH": str(self._root)}
        environment.pop("TF_CONFIG", None)
        if task is not None:
            environment["TF_CONFIG"] = json.dumps(task)
        arguments = [f"{key}={json.dumps(value)}" for key, value in overrides.items()]
        with messages.open("wb") as file:
            popen = subprocess.Popen(
                # It ends by itself even if this process cannot end it any more.
                ["timeout", "--foreground", "--signal=KILL", str(_LONGEST_SECONDS)]
                + [sys.executable, *self._program, "train", "--config", str(tiny_config())]
                + arguments,
                env=environment,
                cwd=self._root,
                stdout=subprocess.DEVNULL,
                stderr=file,
                start_new_session=True,
            )
        self._stack.callback(_end, popen)
        return Process(popen, messages, functools.partial(self.start, run, changes, task))

    def start_all(
        self, run: Path, changes: Mapping[str, object], counts: Mapping[str, int]
    ) -> dict[str, Process]:
        """Starts a cluster; job -> how many of it. "worker 0" and so on -> process."""
        with free_ports(sum(counts.values())) as ports:
            addresses = [f"localhost:{port}" for port in ports]
        cluster = {job: [addresses.pop() for _ in range(count)] for job, count in counts.items()}
        return {
            f"{job} {index}": self.start(
                run, changes, {"cluster": cluster, "task": {"type": job, "index": index}}
            )
            for job, count in counts.items()
            for index in range(count)
        }


def finished(processes: Mapping[str, Process]) -> dict[str, str]:
    """Waits for all, which must succeed; what each printed for people."""
    results = {name: process.wait() for name, process in processes.items()}
    assert {code for code, _ in results.values()} == {0}, results
    return {name: text for name, (_, text) in results.items()}


def history_of(run: Path) -> list[dict[str, float]]:
    """Rows of history.csv without the time they took."""
    with (run / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    for row in rows:
        del row["seconds"]
    return rows


def checkpoints_of(run: Path) -> Sequence[Path]:
    """Checkpoints of a training that has not finished."""
    return list((run.with_name(f".{run.name}.unfinished") / "training").glob("steps/*.index"))


def _end(popen: subprocess.Popen[bytes]) -> None:
    if popen.poll() is None:
        os.killpg(popen.pid, signal.SIGKILL)
    popen.wait()
