"""What the client costs a program that uses it: seconds to import it, and memory.

    python -m benchmarks.client_import

Starts processes of their own, in turns, and prints one JSON line for each kind with the medians:

  python        an interpreter that imports NumPy and gRPC, which both others need
  client        the same and `serving.client`
  tensorflow    the same and TensorFlow Serving's messages as they are usually imported, which loads
                TensorFlow
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.measuring import print_measure

_ROOT = Path(__file__).resolve().parents[1]
_PROGRAMS = {
    "python": "",
    "client": "import serving.client",
    "tensorflow": "from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc",
}
_MEASURE = """
import json, resource, sys, time
started = time.perf_counter()
import numpy, grpc
{program}
seconds = time.perf_counter() - started
megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
loaded = hasattr(sys.modules.get("tensorflow"), "constant")
print(json.dumps({{"seconds": seconds, "megabytes": megabytes, "tensorflow": loaded}}))
"""


def main() -> None:
    """Measures all kinds in turns."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="processes of each kind")
    arguments = parser.parse_args()
    # The first run of each reads files that later ones find in memory.
    for program in _PROGRAMS.values():
        _measured(program)
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in _PROGRAMS}
    for _ in range(arguments.rounds):
        for name, program in _PROGRAMS.items():
            measured[name].append(_measured(program))
    for name, runs in measured.items():
        print_measure(
            "client_import",
            program=name,
            import_seconds=statistics.median(run["seconds"] for run in runs),
            peak_megabytes=statistics.median(run["megabytes"] for run in runs),
            loads_tensorflow=bool(runs[0]["tensorflow"]),
            rounds=arguments.rounds,
        )


def _measured(program: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE.format(program=program)],
        cwd=_ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
