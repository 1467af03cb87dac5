"""How commands read requests that people wrote."""

from __future__ import annotations

import argparse

from configs.command_line import finite_number


def add_positive_rating_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--positive-rating`."""
    parser.add_argument(
        "--positive-rating",
        type=finite_number,
        default=4.0,
        metavar="R",
        help="a rating of at least this counts as liked, where a request leaves its statistics "
        "out; default 4.0; 1 for a model trained on labels without ratings",
    )
