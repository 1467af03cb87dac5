"""Writes what a load test found."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from configs.text_table import aligned
from serving.loadtest.load_test import Measure

RESULTS_FILE = "results.json"
LATENCIES_FILE = "latencies.csv"
PLOT_FILE = "latency.svg"


def machine() -> dict[str, object]:
    """What figures of this machine depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def measure_record(measure: Measure) -> dict[str, object]:
    """A measure as JSON."""
    return {
        "candidates": measure.candidates,
        "rate": measure.rate,
        **dataclasses.asdict(measure.summary),
    }


def table(measures: Sequence[Measure]) -> Iterable[str]:
    """Lines for people; "!" marks a measure that the generator may have set."""
    header = ["candidates", "rate/s", "answers/s", "p50 ms", "p95 ms", "p99 ms", "max ms", "failed"]
    rows = []
    for measure in measures:
        summary, latency = measure.summary, measure.summary.latency_ms
        figures = (measure.rate, summary.throughput, *dataclasses.astuple(latency))
        rows.append(
            [
                str(measure.candidates),
                *(f"{figure:.4g}" for figure in figures),
                str(summary.requests - summary.answered),
                "!" if summary.generator_too_slow else "",
            ]
        )
    return aligned([*header, ""], rows, numbers=len(header))


def warnings(measures: Sequence[Measure], same_machine: bool) -> list[str]:
    """What a reader must know before believing the figures."""
    found = []
    if same_machine:
        found.append(
            "client and server share this machine and its processors: a server on a machine of its "
            "own would be faster"
        )
    for measure in measures:
        if measure.summary.generator_too_slow:
            found.append(
                f"{measure.candidates} candidates at {measure.rate:g}/s: do not use this measure; "
                f"the generator was too slow: {measure.summary.generator_too_slow}"
            )
        if measure.summary.held:
            found.append(
                f"{measure.candidates} candidates at {measure.rate:g}/s: "
                f"{measure.summary.held} requests waited because too many were under way; their "
                "wait is part of their latency"
            )
    return found


def write_report(
    folder: Path,
    result: Mapping[str, object],
    measures: Sequence[Measure],
    warmup_seconds: float,
    timeout_seconds: float,
) -> None:
    """Writes results.json, latencies.csv with a row per request, and latency.svg.

    Args:
      folder: is made.
      result: what results.json holds.
      measures: what was measured.
      warmup_seconds: requests that were due before are marked as warm-up.
      timeout_seconds: the deadline.
    """
    from serving.loadtest.latency_plot import latency_plot

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LATENCIES_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["candidates", "rate", "warmup", "due_seconds", "sent_seconds", "finished_seconds"]
            + ["latency_ms", "status_code", "version", "held"]
        )
        for measure in measures:
            calls = measure.calls
            for row in range(len(calls.due)):
                writer.writerow(
                    [
                        measure.candidates,
                        f"{measure.rate:g}",
                        int(calls.due[row] < warmup_seconds),
                        f"{calls.due[row]:.6f}",
                        f"{calls.sent[row]:.6f}",
                        f"{calls.finished[row]:.6f}",
                        f"{1000 * calls.latencies[row]:.3f}",
                        int(calls.codes[row]),
                        int(calls.versions[row]),
                        int(calls.held[row]),
                    ]
                )
    (folder / PLOT_FILE).write_text(
        latency_plot(measures, warmup_seconds, timeout_seconds), encoding="utf-8"
    )
    (folder / RESULTS_FILE).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
