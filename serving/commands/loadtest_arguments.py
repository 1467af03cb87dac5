"""The options of `python -m serving loadtest`."""

from __future__ import annotations

import argparse

from configs.command_line import positive_integer
from serving.commands.request_options import add_positive_rating_option
from serving.commands.serve_values import seconds
from serving.commands.server_options import (
    GRPC_SCHEMES,
    add_server_options,
    positive_number,
    positive_seconds,
)


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
