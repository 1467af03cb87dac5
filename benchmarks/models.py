"""Training speed of every backbone without knowledge, with HEIN and with knowledge match.

    python -m benchmarks.models                       all backbones, the goals' setting
    python -m benchmarks.models din --profile         where DIN's time goes, by kind of operation
    python -m benchmarks.models din --batch-size 2048 --history 5 --threads 1 --no-dropout
                                                      the published form's setting

Models of the size of MovieLens-1M over made-up data: 3,706 items, 6,040 users, knowledge of both,
2 shared and 5 dedicated experts. Batches are ready tensors in memory, and a step is forward,
backward and Adam. Per backbone and arm it prints one JSON line, and a table at the end. The arms of
a backbone take turns; a ratio is the median over rounds of the arm's speed to that of "none" in the
same round, by processor time, which other programs on the machine disturb less. Arms:

  none         no knowledge
  hein         HEIN over items and users, once per distinct id of the batch
  hein_items   HEIN over items alone
  hein_bf16    HEIN over both, with the experts' products in bfloat16 while training
  ridge, means knowledge match computed once for all epochs, as `train` does
  ridge_step, means_step
               the same, computed in every step over 200 interactions
"""

from __future__ import annotations

import argparse
import collections
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.measuring import Stopwatch, measured, print_measure
from benchmarks.model_workload import TrainingStep, raw_batches, synthetic_tables, training_step
from models.backbones import BACKBONES

_BASELINE = "none"
_ARMS: dict[str, Mapping[str, Any]] = {
    _BASELINE: {"adapter": "none"},
    "hein": {"adapter": "hein"},
    "hein_items": {"adapter": "hein", "sources": ["item"]},
    "hein_bf16": {"adapter": "hein", "hein": {"training_precision": "bfloat16"}},
    "ridge": {"adapter": "none", "match": "ridge"},
    "ridge_step": {"adapter": "none", "match": "ridge"},
    "means": {"adapter": "none", "match": "means"},
    "means_step": {"adapter": "none", "match": "means"},
}
_NO_DROPOUT = {"dropout_rate": 0.0, "id_dropout_rate": 0.0, "knowledge_dropout_rate": 0.0}
_SHOWN_OPERATIONS = 12
_HOST = "/host:CPU"
_OPERATIONS = frozenset(dir(tf.raw_ops))


def main() -> None:
    """Measures all registered backbones, or those that are named."""
    arguments = _parser().parse_args()
    unknown = ", ".join(sorted(set(arguments.backbones) - set(BACKBONES)))
    if unknown:
        _parser().error(f"no backbone {unknown}; there are {', '.join(BACKBONES)}")
    if arguments.threads:
        tf.config.threading.set_inter_op_parallelism_threads(arguments.threads)
        tf.config.threading.set_intra_op_parallelism_threads(arguments.threads)
    tables = synthetic_tables(arguments.dimension, arguments.seed)
    batches = raw_batches(arguments.batch_size, max(arguments.history, 200), arguments.seed)
    rows = []
    for backbone in arguments.backbones or list(BACKBONES):
        programs = {
            arm: training_step(
                {
                    "backbone": backbone,
                    "attention_history_length": arguments.history,
                    **(_NO_DROPOUT if arguments.no_dropout else {}),
                    **_ARMS[arm],
                },
                tables,
                batches,
                match_in_step=arm.endswith("_step"),
                seed=arguments.seed,
            )
            for arm in dict.fromkeys([_BASELINE, *arguments.arms])
        }
        watches = _measure(programs, arguments.rounds)
        rows.append((backbone, _report(backbone, programs, watches, arguments)))
    print(_table(rows), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("backbones", nargs="*", help="registry names; default: all")
    parser.add_argument("--arms", nargs="+", choices=list(_ARMS), default=list(_ARMS))
    parser.add_argument("--batch-size", type=int, default=4096)
    parser.add_argument("--history", type=int, default=30, help="interactions attention sees")
    parser.add_argument("--dimension", type=int, default=384, help="width of knowledge vectors")
    parser.add_argument("--threads", type=int, default=0, help="threads of TensorFlow; 0: all")
    parser.add_argument("--no-dropout", action="store_true", help="hide nothing in training")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of four steps an arm")
    parser.add_argument("--profile", action="store_true", help="shares of time by operation")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _measure(programs: Mapping[str, TrainingStep], rounds: int) -> dict[str, list[Stopwatch]]:
    """What every arm took in every round."""
    watches: dict[str, list[Stopwatch]] = {arm: [] for arm in programs}
    for _ in range(rounds):
        for arm, program in programs.items():
            with measured() as watch:
                program()
            watches[arm].append(watch)
    return watches


def _report(
    backbone: str,
    programs: Mapping[str, TrainingStep],
    watches: Mapping[str, list[Stopwatch]],
    arguments: argparse.Namespace,
) -> dict[str, tuple[float, float]]:
    """Prints the measures of a backbone; arm -> samples per second and ratio to the baseline."""
    results = {}
    for arm, program in programs.items():
        seconds = statistics.median(watch.seconds for watch in watches[arm])
        ratios = [
            base.cpu_seconds / own.cpu_seconds
            for own, base in zip(watches[arm], watches[_BASELINE], strict=True)
        ]
        results[arm] = program.samples / seconds, statistics.median(ratios)
        profile = {}
        if arguments.profile:
            shares = list(operation_shares(program).items())[:_SHOWN_OPERATIONS]
            profile = {"operations": {kind: round(share, 3) for kind, share in shares}}
        print_measure(
            "models",
            backbone=backbone,
            arm=arm,
            samples_per_second=results[arm][0],
            samples_per_cpu_second=program.samples
            / statistics.median(watch.cpu_seconds for watch in watches[arm]),
            ratio=results[arm][1],
            distinct_rows={source: round(rows) for source, rows in program.distinct.items()},
            batch_size=arguments.batch_size,
            history=arguments.history,
            dimension=arguments.dimension,
            threads=arguments.threads,
            dropout=not arguments.no_dropout,
            seed=arguments.seed,
            **profile,
        )
    return results


def _table(rows: list[tuple[str, dict[str, tuple[float, float]]]]) -> str:
    arms = list(rows[0][1])
    others = [arm for arm in arms if arm != _BASELINE]
    lines = [
        f"| backbone | {_BASELINE}, samples/s | {' | '.join(others)} |",
        f"| --- |{' ---: |' * len(arms)}",
    ]
    for backbone, results in rows:
        ratios = " | ".join(f"{results[arm][1]:.2f}" for arm in others)
        lines.append(f"| {backbone} | {results[_BASELINE][0]:,.0f} | {ratios} |")
    return "\n".join(lines)


def operation_shares(program: Callable[[], object], repeats: int = 3) -> dict[str, float]:
    """Shares of the executor's time, operation type -> 0 to 1, largest first.

    Args:
      program: runs compiled functions; it was run before.
      repeats: how often it runs under the profiler.
    """
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(repeats):
                program()
        (trace,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(trace.read_bytes())
    durations: collections.Counter[str] = collections.Counter()
    for plane in space.planes:
        if plane.name != _HOST:
            continue
        for line in plane.lines:
            for event in line.events:
                # Operations are named "<name in the graph>:<type>".
                name, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if colon and name and kind.lstrip("_").removeprefix("Mkl") in _OPERATIONS:
                    durations[kind] += event.duration_ps
    total = sum(durations.values())
    return {kind: duration / total for kind, duration in durations.most_common()}


if __name__ == "__main__":
    main()
