"""`python -m serving loadtest`: latency and throughput at given arrival rates."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from configs.command_line import CommandError, Subparsers, add_json_option, positive_integer, say
from serving.commands.serve import seconds
from serving.commands.server_options import (
    GRPC_SCHEMES,
    add_positive_rating_option,
    add_server_options,
    client_of,
    positive_number,
    positive_seconds,
    tls_of,
)

if TYPE_CHECKING:
    from serving.loadtest.load_test import Limit, LoadTest, Measure
    from serving.loadtest.requests import RequestSource


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds what is measured, how requests arrive, and where they come from."""
    add_server_options(parser, GRPC_SCHEMES, timeout=1.0)
    parser.add_argument(
        "--signature",
        choices=("rank", "serving_default"),
        default="rank",
        help="rank: one user and the candidates; serving_default: the user repeated for each "
        "candidate; default rank",
    )
    parser.add_argument(
        "--candidates",
        type=_integers,
        default=(1, 10, 100),
        metavar="N,N",
        help="candidates per request, measured one after the other; default 1,10,100",
    )
    load = parser.add_mutually_exclusive_group()
    load.add_argument(
        "--rate",
        type=_rates,
        default=(20.0,),
        metavar="R,R",
        help="arrival rates, requests per second, measured one after the other; default 20",
    )
    load.add_argument(
        "--find-limit",
        type=_milliseconds,
        metavar="MS",
        help="search for the highest rate whose p99 is at most MS milliseconds",
    )
    parser.add_argument(
        "--highest-rate",
        type=_rate,
        default=2000.0,
        metavar="R",
        help="--find-limit does not try more; default 2000",
    )
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=10.0,
        metavar="S",
        help="measured seconds at each rate; default 10; a p99 needs some hundred requests",
    )
    parser.add_argument(
        "--warmup-seconds",
        type=seconds,
        default=2.0,
        metavar="S",
        help="seconds before them that are not counted; default 2",
    )
    parser.add_argument(
        "--arrivals",
        choices=("poisson", "even"),
        default="poisson",
        help="poisson: like independent users; even: equal gaps; default poisson",
    )
    parser.add_argument(
        "--in-flight",
        type=positive_integer,
        default=512,
        metavar="N",
        help="requests under way at most; what is due meanwhile waits; default 512",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of arrivals and candidates; default 1"
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--requests",
        metavar="FILE.jsonl",
        help="requests as `predict` takes them, one JSON object a line",
    )
    source.add_argument(
        "--examples", metavar="DIR", help="users of the test examples of a work directory or run"
    )
    source.add_argument(
        "--made-up",
        type=_users_and_items,
        default=(1_000_000, 100_000),
        metavar="USERS,ITEMS",
        help="ids from 1 to so many; default 1000000,100000",
    )
    parser.add_argument(
        "--distinct",
        type=positive_integer,
        default=256,
        metavar="N",
        help="different users of --examples and --made-up; they take turns; default 256",
    )
    add_positive_rating_option(parser)
    parser.add_argument(
        "--out", metavar="DIR", help="write results.json, latencies.csv and latency.svg there"
    )


def _integers(text: str) -> tuple[int, ...]:
    return tuple(positive_integer(part) for part in text.split(","))


def _users_and_items(text: str) -> tuple[int, ...]:
    numbers = _integers(text)
    if len(numbers) != 2:
        raise argparse.ArgumentTypeError(f"expected USERS,ITEMS. Received: {text!r}")
    return numbers


def _rates(text: str) -> tuple[float, ...]:
    return tuple(_rate(part) for part in text.split(","))


def _rate(text: str) -> float:
    return positive_number(text, "requests per second")


def _milliseconds(text: str) -> float:
    return positive_number(text, "milliseconds")


_DESCRIPTION = """\
Sends ranking requests at fixed arrival rates and reports latency and throughput.

The test is an open loop: requests are due at times that do not depend on the server, as users'
requests are, none is left out, and latency counts from when a request was due. A server that stops
for a second therefore shows in all requests that were due in that second. A test that waits for
each answer before it asks again would show it in one ("coordinated omission").

The generator is a process of its own. It reports how late it was itself, and marks measures that it
may have set rather than the server. Requests come from a file, from test examples, or are made up.
"""

_EXAMPLES = """\
examples:
  python -m serving loadtest --target grpc://127.0.0.1:8500 --model movies --rate 50,100,200 \\
      --examples out/demo --out out/load
  python -m serving loadtest --target grpc://127.0.0.1:8500 --model movies --candidates 100 \\
      --find-limit 20 --json
"""

# A first request may be slow; it is not measured.
_PATIENCE_SECONDS = 30.0


def add_command(subparsers: Subparsers) -> None:
    """Adds the command to `python -m serving`."""
    parser = subparsers.add_parser(
        "loadtest",
        help="measures latency and throughput of a server",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    add_arguments(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Measures and prints.

    Args:
      arguments: as parsed by the command's parser.

    Returns:
      `{"model", "version", "signature", "requests", "arrivals", "seconds", "warmup_seconds",
      "deadline_seconds", "seed", "machine", "same_machine", "measures", "limits", "warnings"}`.

    Raises:
      CommandError: requests cannot be read, or the server cannot be asked.
    """
    from serving.client.errors import RankingError
    from serving.client.inputs import ModelInputs
    from serving.loadtest.load_test import LoadTest, Schedule, is_this_machine
    from serving.loadtest.report import machine, measure_record, table, warnings, write_report
    from serving.loadtest.requests import check_answer

    source = _source(arguments)
    schedule = Schedule(
        arguments.arrivals,
        arguments.seconds,
        arguments.warmup_seconds,
        arguments.in_flight,
        arguments.timeout_seconds,
        arguments.seed,
    )
    try:
        with client_of(arguments, max(arguments.timeout_seconds, _PATIENCE_SECONDS)) as client:
            version = client.wait_until_ready(arguments.timeout_seconds)
            known = ModelInputs.of_kinds(client.input_kinds(arguments.signature))
            for candidates in arguments.candidates:
                check_answer(client, source, arguments.signature, candidates)
            address = client.address
    except RankingError as error:
        raise CommandError(f"{error} [{error.code}]") from error
    test = LoadTest(address, known, source, arguments.signature, schedule, tls_of(arguments))
    measures, limits = _measured(test, arguments)
    target = urlsplit(arguments.target)
    same_machine = is_this_machine(target.hostname or "", target.port or 0)
    warned = warnings(measures, same_machine)
    say(f"{arguments.model} version {version}, {arguments.signature}, {source.description}")
    for line in (
        *table(measures),
        *_limit_lines(limits, arguments),
        *(f"note: {warning}" for warning in warned),
    ):
        say(line)
    result = {
        "model": arguments.model,
        "version": version,
        "signature": arguments.signature,
        "requests": source.description,
        "arrivals": arguments.arrivals,
        "seconds": arguments.seconds,
        "warmup_seconds": arguments.warmup_seconds,
        "deadline_seconds": arguments.timeout_seconds,
        "in_flight": arguments.in_flight,
        "seed": arguments.seed,
        "machine": machine(),
        "same_machine": same_machine,
        "measures": [measure_record(measure) for measure in measures],
        "limits": [
            {
                "candidates": candidates,
                "p99_limit_ms": arguments.find_limit,
                **dataclasses.asdict(limit),
            }
            for candidates, limit in limits.items()
        ],
        "warnings": warned,
    }
    if arguments.out:
        write_report(
            Path(arguments.out),
            result,
            measures,
            arguments.warmup_seconds,
            arguments.timeout_seconds,
        )
    return result


def _measured(
    test: LoadTest, arguments: argparse.Namespace
) -> tuple[list[Measure], dict[int, Limit]]:
    """All measures, and the limit found for each number of candidates."""
    measures: list[Measure] = []
    limits: dict[int, Limit] = {}
    for candidates in arguments.candidates:
        if arguments.find_limit is None:
            measures += test.measure(candidates, arguments.rate)
            continue
        limits[candidates], tried = test.find_limit(
            candidates,
            arguments.find_limit,
            highest_rate=arguments.highest_rate,
            progress=_say_progress,
        )
        measures += tried
    return measures, limits


def _say_progress(measure: Measure) -> None:
    say(
        f"{measure.candidates} candidates at {measure.rate:.4g}/s: "
        f"p99 {measure.summary.latency_ms.p99:g} ms"
    )


def _limit_lines(limits: Mapping[int, Limit], arguments: argparse.Namespace) -> list[str]:
    return [
        f"{candidates} candidates: p99 is at most {arguments.find_limit:g} ms up to "
        f"{limit.rate:.4g} requests/s"
        + (
            f", not at {limit.exceeded:.4g}"
            if limit.exceeded is not None
            else ", the highest tried"
        )
        for candidates, limit in limits.items()
    ]


def _source(arguments: argparse.Namespace) -> RequestSource:
    from serving.loadtest.requests import made_up_requests, requests_of_examples, requests_of_file

    if arguments.requests:
        return requests_of_file(arguments.requests, arguments.positive_rating)
    if arguments.examples:
        return requests_of_examples(arguments.examples, arguments.distinct)
    users, items = arguments.made_up
    return made_up_requests(users, items, arguments.distinct, arguments.seed)
