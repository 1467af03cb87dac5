"""Commands in processes of their own, some of them killed in the middle."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

_POLL_SECONDS = 0.01


class Command:
    """`python -m ...` in a folder; relative paths mean files of that folder.

    Args:
      repository_root: where the packages are.
      folder: the current folder of every process.
    """

    def __init__(self, repository_root: Path, folder: Path):
        self._folder = folder
        self._environment = os.environ | {"PYTHONPATH": str(repository_root)}

    def run(self, arguments: Sequence[str]) -> str:
        """Runs to the end; standard output, and an AssertionError with the messages on failure."""
        process = self._start(arguments)
        output, messages = process.communicate()
        assert process.returncode == 0, f"{' '.join(arguments)}: {messages}"
        return output

    def run_killed(self, arguments: Sequence[str], begun: Callable[[], bool], delay: float) -> bool:
        """Starts, waits until work has begun and a while longer, and kills with SIGKILL.

        Returns:
          True when the process was killed before it had ended.
        """
        process = self._start(arguments)
        while process.poll() is None and not begun():
            time.sleep(_POLL_SECONDS)
        deadline = time.monotonic() + delay
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        alive = process.poll() is None
        if alive:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return alive

    def _start(self, arguments: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


class ForkedCommands:
    """Commands of `python -m preprocessing`, each in a process that ends at a change of the disk.

    Changes are counted: files opened for writing, renamed and removed, folders made and removed.
    The process dies with all that it has started just before the change of a given number, as it
    would if the machine stopped.

    Args:
      requests: standard input of the process of `forked_commands`.
      replies: its standard output.
    """

    def __init__(self, requests: IO[str], replies: IO[str]):
        self._requests, self._replies = requests, replies

    def run(self, arguments: Sequence[str], folder: Path, killed_before: int = 0) -> int:
        """Runs a command in a folder.

        Args:
          arguments: after `python -m preprocessing`.
          folder: the current folder of the process.
          killed_before: number of the change that it does not come to; 0 lets it end.

        Returns:
          Changes that it made.

        Raises:
          AssertionError: it failed, or ended before that change.
        """
        request = {"words": list(arguments), "folder": str(folder), "last": killed_before}
        self._requests.write(json.dumps(request) + "\n")
        self._requests.flush()
        reply = json.loads(self._replies.readline())
        expected = -signal.SIGKILL if killed_before else 0
        assert reply["code"] == expected, f"{' '.join(arguments)}: {reply}"
        return int(reply["changes"])


@contextlib.contextmanager
def forked_commands(repository_root: Path) -> Iterator[ForkedCommands]:
    """A process that has imported everything, and forks for each command."""
    with subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=repository_root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdin is not None and server.stdout is not None
        yield ForkedCommands(server.stdin, server.stdout)
        server.stdin.close()


def _serve() -> None:
    """Forks for each line of standard input and says on standard output how it ended."""
    import apache_beam  # noqa: F401

    import preprocessing.__main__ as program

    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        counted, count = os.pipe()
        child = os.fork()
        if not child:
            os.setsid()
            os.chdir(request["folder"])
            _count_changes(count, request["last"])
            os._exit(program.main(request["words"]))
        os.close(count)
        changes = 0
        while data := os.read(counted, 1 << 16):
            changes += len(data)
        os.close(counted)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        replies.write(json.dumps({"code": code, "changes": changes}) + "\n")
        replies.flush()


_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _count_changes(count: int, last: int) -> None:
    """Writes a byte for each change of the disk, and dies before the last one."""
    changes = 0

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & _WRITING or str(path).startswith("/dev/"):
                return
        elif event not in _CHANGES:
            return
        changes += 1
        if changes == last:
            os.killpg(0, signal.SIGKILL)
        os.write(count, b".")

    sys.addaudithook(hear)


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, hidden ones too."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


if __name__ == "__main__":
    _serve()
