"""How commands read requests that people wrote."""

from __future__ import annotations

import argparse

from configs.command_line import finite_number


def add_positive_rating_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--positive-rating`."""
    parser.add_argument(
        "--positive-rating",
        type=finite_number,
        metavar="R",
        help="a rating of at least this counts as liked, where a request leaves user_share_liked "
        "out (default: what the model was trained with, which it knows)",
    )
