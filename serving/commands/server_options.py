"""Which model of which server a command asks, and with which request."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from serving.options import GRPC_SCHEMES, RequestOptions

if TYPE_CHECKING:
    from serving.client.connection import Tls
    from serving.client.grpc_client import RankingClient
    from serving.client.inputs import UserRequest
    from serving.client.rest_client import RestRankingClient


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


def client_of(
    options: RequestOptions, timeout_seconds: float | None = None
) -> RankingClient | RestRankingClient:
    """A client for the target, over the transport that it names.

    Args:
      options: name the target.
      timeout_seconds: deadline of a call; `--timeout-seconds` if None.

    Raises:
      ConfigurationError: a certificate comes without its key, or without encryption.
      OSError: a certificate cannot be read.
    """
    from serving.client import Connection, RankingClient, RestRankingClient

    address = urlsplit(options.target)
    deadline = options.timeout_seconds if timeout_seconds is None else timeout_seconds
    if address.scheme in GRPC_SCHEMES:
        return RankingClient(
            address.netloc,
            options.model,
            deadline,
            model_version=options.model_version,
            version_label=options.version_label,
            connection=Connection(tls=tls_of(options)),
        )
    return RestRankingClient(
        options.target,
        options.model,
        deadline,
        model_version=options.model_version,
        version_label=options.version_label,
        tls=tls_of(options),
    )


def tls_of(options: RequestOptions) -> Tls | None:
    """Certificates for the target; None where it is not encrypted.

    Raises:
      ConfigurationError: a certificate comes without its key, or without encryption.
    """
    from serving.client import Tls

    files = (options.root_certificates, options.client_certificate, options.client_key)
    if not urlsplit(options.target).scheme.endswith("s"):
        if any(files):
            raise ConfigurationError(
                f"certificates need an encrypted target, grpcs:// or https://. Received: "
                f"--target {options.target}"
            )
        return None
    try:
        return Tls(*files)
    except ValueError as error:
        raise ConfigurationError(
            "--client-certificate and --client-key: give both or neither"
        ) from error
