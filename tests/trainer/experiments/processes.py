"""The processes of an experiment, found from outside."""

from __future__ import annotations

from pathlib import Path


def workers_of(experiment: str) -> list[int]:
    """Ids of the living processes that train runs of an experiment."""
    collected = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().decode().split("\0")
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if "trainer.experiments.worker" in words and experiment in words and state != "Z":
            collected.append(int(folder.name))
    return collected
