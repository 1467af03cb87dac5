"""`python -m serving loadtest`: latency and throughput at given arrival rates."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from configs.command_line import (
    CommandError,
    Subparsers,
    add_field_options,
    add_json_option,
    say,
    section_of,
)
from configs.loading import require_there
from serving.commands.server_options import client_of, tls_of
from serving.options import LoadTestOptions

if TYPE_CHECKING:
    from serving.loadtest.load_test import Limit, LoadTest, RateMeasurement
    from serving.loadtest.requests import RequestSource


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
    add_field_options(parser, LoadTestOptions)
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
    from serving.loadtest.load_test import LoadTest, is_this_machine
    from serving.loadtest.report import machine, measure_record, table, warnings, write_report
    from serving.loadtest.requests import check_response

    options = section_of(arguments, LoadTestOptions)
    source = _source(options)
    try:
        with client_of(options, max(options.timeout_seconds, _PATIENCE_SECONDS)) as client:
            version = client.wait_until_ready(options.timeout_seconds)
            model_inputs = ModelInputs.of_kinds(client.input_kinds(options.signature))
            for candidates in options.candidates:
                check_response(client, source, options.signature, candidates)
            address = client.address
    except RankingError as error:
        raise CommandError(f"{error} [{error.code}]") from error
    test = LoadTest(address, model_inputs, source, options.signature, options, tls_of(options))
    measures, limits = _measured(test, options)
    target = urlsplit(options.target)
    same_machine = is_this_machine(target.hostname or "", target.port or 0)
    warned = warnings(measures, same_machine)
    say(f"{options.model} version {version}, {options.signature}, {source.description}")
    for line in (
        *table(measures),
        *_limit_lines(limits, options),
        *(f"note: {warning}" for warning in warned),
    ):
        say(line)
    result = {
        "model": options.model,
        "version": version,
        "signature": options.signature,
        "requests": source.description,
        "arrivals": options.arrivals,
        "seconds": options.seconds,
        "warmup_seconds": options.warmup_seconds,
        "deadline_seconds": options.timeout_seconds,
        "in_flight": options.in_flight,
        "seed": options.seed,
        "machine": machine(),
        "same_machine": same_machine,
        "measures": [measure_record(measure) for measure in measures],
        "limits": [
            {
                "candidates": candidates,
                "p99_limit_ms": options.find_limit,
                **dataclasses.asdict(limit),
            }
            for candidates, limit in limits.items()
        ],
        "warnings": warned,
    }
    if options.out:
        write_report(
            Path(options.out),
            result,
            measures,
            options.warmup_seconds,
            options.timeout_seconds,
        )
    return result


def _measured(
    test: LoadTest, options: LoadTestOptions
) -> tuple[list[RateMeasurement], dict[int, Limit]]:
    """All measures, and the limit found for each number of candidates."""
    measures: list[RateMeasurement] = []
    limits: dict[int, Limit] = {}
    for candidates in options.candidates:
        if options.find_limit is None:
            measures += test.measure(candidates, options.rate)
            continue
        limits[candidates], tried = test.find_limit(
            candidates,
            options.find_limit,
            highest_rate=options.highest_rate,
            progress=_say_progress,
        )
        measures += tried
    return measures, limits


def _say_progress(measure: RateMeasurement) -> None:
    say(
        f"{measure.candidates} candidates at {measure.rate:.4g}/s: "
        f"p99 {measure.summary.latency_ms.p99:g} ms"
    )


def _limit_lines(limits: Mapping[int, Limit], options: LoadTestOptions) -> list[str]:
    return [
        f"{candidates} candidates: p99 is at most {options.find_limit:g} ms up to "
        f"{limit.rate:.4g} requests/s"
        + (
            f", not at {limit.exceeded:.4g}"
            if limit.exceeded is not None
            else ", the highest tried"
        )
        for candidates, limit in limits.items()
    ]


def _source(options: LoadTestOptions) -> RequestSource:
    from serving.loadtest.requests import requests_of_examples, requests_of_file, synthetic_requests

    if options.requests:
        return requests_of_file(options.requests, options.positive_rating)
    if options.examples:
        require_there(options.examples)
        return requests_of_examples(options.examples, options.distinct)
    users, items = options.made_up
    return synthetic_requests(users, items, options.distinct, options.seed)
