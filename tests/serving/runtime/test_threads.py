from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.serving.toy_ranker import toy_base_path

PROGRAM = """
import contextlib, os, sys, threading
from serving.runtime.c_api import CApiSession
from serving.runtime.c_api import start_threads

def priorities(threads):
    found = set()
    for thread in threads:
        with contextlib.suppress(ProcessLookupError):  # it has ended
            found.add(os.getpriority(os.PRIO_PROCESS, int(thread)))
    return found

def running():
    return set(os.listdir("/proc/self/task"))

at_first = running()
if sys.argv[1] == "started":
    start_threads()
started = running()

def load():
    own = threading.get_native_id()
    os.setpriority(os.PRIO_PROCESS, own, int(sys.argv[3]))
    CApiSession(sys.argv[2]).close()
    print(priorities(started - at_first), priorities(running() - started - {str(own)}))

thread = threading.Thread(target=load)
thread.start()
thread.join()
"""


def new_threads(when: str, load_priority: int, repository_root: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, when, str(toy_base_path() / "3"), str(load_priority)],
        cwd=repository_root,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_they_keep_the_priority_of_whoever_started_them(repository_root: Path) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    lower = min(own + 5, 19)
    # The threads that were started, and those that a load of lower priority started besides.
    assert new_threads("started", lower, repository_root) == f"{{{own}}} set()"
    assert new_threads("not started", lower, repository_root) == f"set() {{{lower}}}"
