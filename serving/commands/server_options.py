"""Which model of which server a command asks, and with which request."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from configs.command_line import CommandError, finite_number, positive_integer
from configs.loading import ConfigurationError

if TYPE_CHECKING:
    from serving.client.connection import Tls
    from serving.client.grpc_client import RankingClient
    from serving.client.inputs import UserRequest
    from serving.client.rest_client import RestRankingClient


def add_positive_rating_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--positive-rating`."""
    parser.add_argument(
        "--positive-rating",
        type=finite_number,
        metavar="R",
        help="a rating of at least this counts as liked, where a request leaves user_share_liked "
        "out (default: what the model was trained with, which it knows)",
    )


def read_request(path: str, positive_rating: float | None) -> tuple[UserRequest, list[str] | None]:
    """Reads a request from a JSON file, or from standard input when the path is `-`.

    Args:
      path: the file.
      positive_rating: a rating of at least this counts as positive in statistics that are missing;
        None leaves it to the model.

    Returns:
      The user, and the candidates' ids; None when the request names no candidates.

    Raises:
      CommandError: the request is malformed; the message names the file and the field.
      OSError: the file cannot be read.
    """
    from serving.client.requests import parse_request

    where = name_of(path)
    body = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"{where}: not valid JSON ({error})") from error
    try:
        return parse_request(document, positive_rating)
    except CommandError as error:
        raise CommandError(f"{where}: {error}") from error


def name_of(path: str) -> str:
    """What messages call the request: the path, or standard input for `-`."""
    return "standard input" if path == "-" else path


GRPC_SCHEMES = ("grpc", "grpcs")
ALL_SCHEMES = (*GRPC_SCHEMES, "http", "https")


def add_server_options(
    parser: argparse.ArgumentParser, schemes: Sequence[str] = ALL_SCHEMES, timeout: float = 10.0
) -> None:
    """Adds `--target`, `--model`, the version, the deadline and certificates.

    Args:
      parser: the command's.
      schemes: of targets that the command can ask.
      timeout: default of `--timeout-seconds`.
    """

    def target(text: str) -> str:
        try:
            address = urlsplit(text)
            complete = bool(address.hostname) and address.port is not None
        except ValueError:
            complete = False
        if not complete or address.scheme not in schemes:
            raise argparse.ArgumentTypeError(f"expected {forms}. Received: {text!r}")
        return text

    plain = [scheme for scheme in schemes if not scheme.endswith("s")]
    forms = " or ".join(f"{scheme}://HOST:PORT" for scheme in plain)
    encrypted = " or ".join(scheme for scheme in schemes if scheme.endswith("s"))
    parser.add_argument(
        "--target",
        required=True,
        type=target,
        metavar="URL",
        help=f"the server: {forms}; {encrypted} for an encrypted connection",
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="the model's name there")
    version = parser.add_mutually_exclusive_group()
    version.add_argument(
        "--version-label",
        metavar="LABEL",
        help="ask the version with this label, e.g. stable; without it the highest one answers, "
        "which may be a canary",
    )
    version.add_argument(
        "--model-version", type=positive_integer, metavar="N", help="ask this version"
    )
    parser.add_argument(
        "--timeout-seconds",
        type=positive_seconds,
        default=timeout,
        metavar="S",
        help=f"how long to wait for an answer; default {timeout:g}",
    )
    for name, what in (
        ("root-certificates", "authorities to check the server's certificate against"),
        ("client-certificate", "this client's certificate, where the server asks for one"),
        ("client-key", "its private key"),
    ):
        parser.add_argument(f"--{name}", metavar="FILE.pem", help=what)


def client_of(
    arguments: argparse.Namespace, timeout_seconds: float | None = None
) -> RankingClient | RestRankingClient:
    """A client for the target, over the transport that it names.

    Args:
      arguments: as parsed with the options of `add_server_options`.
      timeout_seconds: deadline of a call; `--timeout-seconds` if None.

    Raises:
      ConfigurationError: a certificate comes without its key, or without encryption.
      OSError: a certificate cannot be read.
    """
    from serving.client import Connection, RankingClient, RestRankingClient

    address = urlsplit(arguments.target)
    deadline = arguments.timeout_seconds if timeout_seconds is None else timeout_seconds
    version = {
        "model_version": arguments.model_version,
        "version_label": arguments.version_label,
    }
    if address.scheme in GRPC_SCHEMES:
        return RankingClient(
            address.netloc,
            arguments.model,
            deadline,
            connection=Connection(tls=tls_of(arguments)),
            **version,
        )
    return RestRankingClient(
        arguments.target,
        arguments.model,
        deadline,
        tls=tls_of(arguments),
        **version,
    )


def tls_of(arguments: argparse.Namespace) -> Tls | None:
    """Certificates for the target; None where it is not encrypted.

    Raises:
      ConfigurationError: a certificate comes without its key, or without encryption.
    """
    from serving.client import Tls

    files = (arguments.root_certificates, arguments.client_certificate, arguments.client_key)
    if not urlsplit(arguments.target).scheme.endswith("s"):
        if any(files):
            raise ConfigurationError(
                f"certificates need an encrypted target, grpcs:// or https://. Received: "
                f"--target {arguments.target}"
            )
        return None
    try:
        return Tls(*files)
    except ValueError as error:
        raise ConfigurationError(
            "--client-certificate and --client-key: give both or neither"
        ) from error


def positive_seconds(text: str) -> float:
    """An option's value as seconds, more than 0, for argparse's `type`."""
    return positive_number(text, "seconds")


def positive_number(text: str, what: str) -> float:
    """An option's value as a number of more than 0.

    Args:
      text: the value.
      what: is counted, for messages.

    Raises:
      ArgumentTypeError: it is no such number.
    """
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected {what}, more than 0. Received: {text!r}")
    return number
