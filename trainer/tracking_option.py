"""The option `--tracking mlflow:URI`; nothing is told to anybody without it.

The address must hold no secret: it stands in process lists and shells' histories. What a server
asks for comes from the environment, which its own client reads.
"""

from __future__ import annotations

import argparse
import os
from urllib.parse import urlsplit

from trainer.tracking import Tracking

ADDRESS_VARIABLE = "MLFLOW_TRACKING_URI"


def add_tracking_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--tracking`."""
    parser.add_argument(
        "--tracking",
        type=tracking_address,
        metavar="mlflow:URI",
        help="tell an MLflow server or file, e.g. mlflow:sqlite:///out/mlflow.db; 'mlflow' alone "
        f"takes {ADDRESS_VARIABLE}; user names, passwords and tokens come from the environment "
        "(needs requirements-tracking.txt)",
    )


def tracking_address(text: str) -> str:
    """The option's value after a check, for argparse's `type`; no message repeats it."""
    program, _, address = text.partition(":")
    if program != "mlflow":
        raise argparse.ArgumentTypeError("expected mlflow:URI, or mlflow alone")
    if not address:
        if not os.environ.get(ADDRESS_VARIABLE):
            raise argparse.ArgumentTypeError(
                f"'mlflow' without an address needs {ADDRESS_VARIABLE} in the environment"
            )
        return text
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise argparse.ArgumentTypeError("the address after 'mlflow:' is no URI") from error
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise argparse.ArgumentTypeError(
            "the address must hold no user name, password, token or options, since others can "
            f"read a command line; take them out and set {ADDRESS_VARIABLE}, or "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, in "
            "the environment"
        )
    return text


def tracking_of(address: str | None, experiment: str) -> Tracking:
    """The tracking that a checked option names.

    Args:
      address: of `tracking_address`; None for no tracking.
      experiment: under which name the server lists the runs.

    Raises:
      CommandError: the client is not installed, or the server cannot be used.
    """
    if address is None:
        return Tracking()
    from trainer.mlflow_tracking import MlflowTracking

    uri = address.partition(":")[2] or os.environ[ADDRESS_VARIABLE]
    return MlflowTracking(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or experiment)
