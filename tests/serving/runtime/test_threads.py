from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.serving.toy_ranker import toy_base_path

PROGRAM = """
import os, sys, threading
from pathlib import Path
from serving.runtime.c_api import CApiSession
from serving.runtime.threads import start_threads

def computing():
    lines = [path.read_text() for path in Path("/proc/self/task").glob("*/stat")]
    # See proc(5): the name stands in brackets, and the priority is the seventeenth behind it.
    split = [line.rpartition(")") for line in lines]
    return [int(rest.split()[16]) for name, _, rest in split if name.endswith("(tf_Compute")]

if sys.argv[1] == "started":
    start_threads()
before = len(computing())

def load():
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 15)
    CApiSession(sys.argv[2]).close()

thread = threading.Thread(target=load)
thread.start()
thread.join()
print(before > 0, set(computing()))
"""


def computing_threads(when: str, repository_root: Path, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, when, str(folder)],
        cwd=repository_root,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_they_keep_the_priority_of_whoever_started_them(repository_root: Path) -> None:
    folder = toy_base_path() / "3"
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert computing_threads("started", repository_root, folder) == f"True {{{own}}}"
    # Else they have that of a load.
    assert computing_threads("not started", repository_root, folder) == "False {15}"
