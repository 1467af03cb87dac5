"""Where a TensorFlow program spends its time, by kind of operation."""

from __future__ import annotations

import collections
import tempfile
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

_HOST = "/host:CPU"
_OPERATIONS = frozenset(dir(tf.raw_ops))


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
