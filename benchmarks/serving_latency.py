"""What knowledge, one request per user, and a new version cost a server, as ratios.

    python -m benchmarks.serving_latency --runs out/demo/runs
    python -m benchmarks.serving_latency --work-dir out/demo          trains its models, one epoch
    python -m benchmarks.serving_latency --runs out/demo/runs --parts direct

Exports the same backbone in every arm of the scenario's experiment that there is a run of, serves
all of them from one process of `python -m serving serve` and prints JSON lines. Programs that are
compared take turns of a fraction of a second, so that what else the machine does hits all alike;
intervals come from resampling the turns.

  knowledge   latency of `rank` with knowledge to that without: open loop, one arrival rate
  signature   throughput of `rank` to that of `serving_default` for the same candidates: as many
              requests under way as there are processors, twice
  swap        a new version of a served model under load: failed requests, and p99 in the second
              around the first answer of the new version to the p99 before
  direct      knowledge and signature in TensorFlow's C++ runtime, which TensorFlow Serving runs,
              one request at a time, without a server: the local server is in Python, and no measure
              of TensorFlow Serving. Ratios of processor time hardly depend on what else runs.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from benchmarks.hot_swap import measure_swaps
from benchmarks.measuring import print_measure
from benchmarks.paired_ratios import Ratio, p50, p99, per_second, ratio_of
from benchmarks.serving_workload import (
    BASELINE,
    Exports,
    exports_of_runs,
    requests_for,
    serving,
    train_runs,
)
from serving.loadtest.generator import Calls, LoadPlan, Phase, run_load
from serving.loadtest.requests import SIGNATURES
from serving.loadtest.summary import Quantiles, latencies_with_failures

_NAME = "serving_latency"
_TIMEOUT_SECONDS = 10.0
_IN_FLIGHT = 512
_DIRECT_RUNS = 5


def main() -> None:
    """Runs the parts that are asked for."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="serving_latency_") as temporary:
        runs = Path(arguments.runs or Path(temporary) / "runs")
        if not arguments.runs:
            train_runs(
                arguments.work_dir, arguments.config, arguments.backbone, arguments.seed, runs
            )
        exports = exports_of_runs(
            runs,
            arguments.config,
            arguments.backbone,
            arguments.seed,
            Path(temporary),
            arguments.users,
        )
        arguments.users = len(exports.source.users)
        if {"knowledge", "signature"} & set(arguments.parts):
            with serving(exports.bases) as server:
                if "knowledge" in arguments.parts:
                    _measure_knowledge(server.target, exports, arguments)
                if "signature" in arguments.parts:
                    _measure_signatures(server.target, exports, arguments)
        if "swap" in arguments.parts:
            for arm in exports.bases:
                measure = measure_swaps(
                    exports.versions[arm],
                    exports.source,
                    arguments.candidates,
                    arguments.rate,
                    arguments.swap_seconds,
                    arguments.swaps,
                    arguments.seed,
                )
                settings = {"rate": arguments.rate, **_settings(arguments)}
                print_measure(_NAME, part="swap", arm=arm, **measure, **settings)
        if "direct" in arguments.parts:
            _measure_direct(exports, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--runs", help="folder of runs BACKBONE_ARM_seedN; arms none, hein, ...")
    given.add_argument("--work-dir", help="built work directory; models are trained here")
    parser.add_argument("--config", default="configs/movielens_small.yaml", help="its scenario")
    parts = ("knowledge", "signature", "swap", "direct")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    parser.add_argument("--backbone", default="din")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--rate", type=float, default=50.0, help="requests per second")
    parser.add_argument("--turn-seconds", type=float, default=0.5, help="of a program, open loop")
    parser.add_argument("--turn-requests", type=int, default=50, help="of a program, closed loop")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each program")
    parser.add_argument("--swap-seconds", type=float, default=10.0, help="between swaps")
    parser.add_argument("--swaps", type=int, default=10, help="new versions, one after the other")
    parser.add_argument("--users", type=int, default=64, help="different requests")
    parser.add_argument("--seed", type=int, default=1)
    return parser


def _settings(arguments: argparse.Namespace) -> dict[str, object]:
    names = ("backbone", "candidates", "rounds", "users", "seed")
    return {name: getattr(arguments, name) for name in names}


def _measure_knowledge(target: str, exports: Exports, arguments: argparse.Namespace) -> None:
    arms = list(exports.bases)
    requests = [
        requests_for(target, arm, exports.source, "rank", arguments.candidates, arguments.seed)
        for arm in arms
    ]
    phase, rounds = taking_turns(len(arms), arguments)
    (calls,) = run_load(_plan(target, requests, [phase]))
    latencies = latencies_with_failures(calls, _TIMEOUT_SECONDS)
    places = phase.requests // arguments.users
    times = {
        arm: [
            latencies[(places == index) & (rounds == number)]
            for number in range(1, arguments.rounds + 1)
        ]
        for index, arm in enumerate(arms)
    }
    for arm in arms:
        own = Quantiles.of_seconds(np.concatenate(times[arm]))
        print_measure(
            _NAME,
            part="knowledge",
            arm=arm,
            rate=arguments.rate,
            p50_ms=own.p50,
            p99_ms=own.p99,
            p50_ratio=_text(ratio_of(times[arm], times[BASELINE], p50, arguments.seed)),
            p99_ratio=_text(ratio_of(times[arm], times[BASELINE], p99, arguments.seed)),
            failed=int((~calls.answered).sum()),
            generator_lag_p99_ms=Quantiles.of_seconds(calls.sent - calls.due).p99,
            **_settings(arguments),
        )


def _measure_signatures(target: str, exports: Exports, arguments: argparse.Namespace) -> None:
    in_flight = 2 * len(os.sched_getaffinity(0))
    count = arguments.turn_requests
    for arm in exports.bases:
        requests = [
            requests_for(
                target, arm, exports.source, signature, arguments.candidates, arguments.seed
            )
            for signature in SIGNATURES
        ]
        order = [turn % 2 for turn in range(2 * (arguments.rounds + 1))]
        phases = [
            Phase(
                np.zeros(count),
                index * arguments.users + np.arange(count) % arguments.users,
                in_flight,
                _TIMEOUT_SECONDS,
            )
            for index in order
        ]
        calls = run_load(_plan(target, requests, phases))
        # Seconds per request of a turn; the first turn of each is not counted.
        seconds = [
            [np.array([_seconds_per_request(each)]) for each in calls[2 + index :: 2]]
            for index in range(len(SIGNATURES))
        ]
        ratio = ratio_of(seconds[0], seconds[1], per_second, arguments.seed)
        print_measure(
            _NAME,
            part="signature",
            arm=arm,
            rank_per_second=per_second(np.concatenate(seconds[0])),
            serving_default_per_second=per_second(np.concatenate(seconds[1])),
            throughput_ratio=_text(ratio),
            in_flight=in_flight,
            failed=sum(int((~each.answered).sum()) for each in calls),
            **_settings(arguments),
        )


def _measure_direct(exports: Exports, arguments: argparse.Namespace) -> None:
    # Loads TensorFlow, which the parts over a server must not share the machine with.
    from benchmarks.serving_direct import Turns, loaded

    turns = Turns()
    for arm, model in loaded(exports.versions).items():
        for signature in SIGNATURES:
            inputs = model.inputs_of(
                exports.source, signature, arguments.candidates, arguments.seed
            )
            turns.add(f"{arm} {signature}", model, signature, inputs)
    # Short turns and many of them: here nothing is gained by staying with a program.
    times = turns.run(arguments.rounds * arguments.turn_requests // _DIRECT_RUNS, _DIRECT_RUNS)
    wall = {name: [turn[:, 0] for turn in own] for name, own in times.items()}
    processor = {name: [turn[:, 1] for turn in own] for name, own in times.items()}
    base = f"{BASELINE} rank"
    for arm in exports.versions:
        ranked, rows = f"{arm} rank", f"{arm} serving_default"
        own = Quantiles.of_seconds(np.concatenate(wall[ranked]))
        print_measure(
            _NAME,
            part="direct",
            arm=arm,
            p50_ms=own.p50,
            p99_ms=own.p99,
            p50_ratio=_text(ratio_of(wall[ranked], wall[base], p50, arguments.seed)),
            p99_ratio=_text(ratio_of(wall[ranked], wall[base], p99, arguments.seed)),
            processor_ratio=_text(
                ratio_of(processor[ranked], processor[base], np.mean, arguments.seed)
            ),
            throughput_ratio=_text(ratio_of(wall[ranked], wall[rows], per_second, arguments.seed)),
            processor_throughput_ratio=_text(
                ratio_of(processor[ranked], processor[rows], per_second, arguments.seed)
            ),
            **_settings(arguments),
        )


def taking_turns(programs: int, arguments: argparse.Namespace) -> tuple[Phase, np.ndarray]:
    """A schedule in which programs take turns, and the round of each request.

    The order rotates from round to round, so that no program always comes after the same one. Round
    0 warms up.
    """
    per_turn = max(1, round(arguments.rate * arguments.turn_seconds))
    due: list[float] = []
    requests: list[int] = []
    rounds: list[int] = []
    for number in range(arguments.rounds + 1):
        for index in range(programs):
            program = (index + number) % programs
            start = (number * programs + index) * arguments.turn_seconds
            for request in range(per_turn):
                user = (number * per_turn + request) % arguments.users
                due.append(start + request / arguments.rate)
                requests.append(program * arguments.users + user)
                rounds.append(number)
    phase = Phase(np.array(due), np.array(requests), _IN_FLIGHT, _TIMEOUT_SECONDS)
    return phase, np.array(rounds)


def _plan(target: str, requests: Sequence[Sequence[bytes]], phases: Sequence[Phase]) -> LoadPlan:
    every = [request for each in requests for request in each]
    return LoadPlan(target, every, phases)


def _seconds_per_request(calls: Calls) -> float:
    return float((calls.finished.max() - calls.sent.min()) / len(calls.due))


def _text(ratio: Ratio) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in vars(ratio).items()}


if __name__ == "__main__":
    main()
