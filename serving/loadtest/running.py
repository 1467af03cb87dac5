"""Runs a plan in a process of its own, so that what starts it cannot slow it down."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from configs.command_line import CommandError
from serving.loadtest.calls import CALLS_FILE, Calls, read_calls
from serving.loadtest.plan import Plan

_ROOT = Path(__file__).resolve().parents[2]


def run_plan(plan: Plan) -> Sequence[Calls]:
    """Sends a plan's requests from another process.

    Args:
      plan: the requests.

    Returns:
      The calls of each phase.

    Raises:
      CommandError: the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="loadtest_") as temporary:
        folder = Path(temporary)
        plan.write(folder)
        done = subprocess.run(
            [sys.executable, "-m", "serving.loadtest.worker", temporary],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            reason = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise CommandError(f"the load generator ended with {done.returncode}: {reason[0]}")
        return read_calls(folder / CALLS_FILE, len(plan.phases))
