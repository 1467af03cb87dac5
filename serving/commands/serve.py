"""`python -m serving serve`: the local server."""

from __future__ import annotations

import argparse
import json
import re
import signal
import threading
from collections.abc import Mapping

from configs.command_line import Subparsers, say
from configs.loading import ConfigurationError

_DESCRIPTION = """\
Serves models on this machine with TensorFlow Serving's gRPC and REST API.

BASE is a model's base path: a folder whose subfolders are version numbers, as `export` writes them.
The highest version that loads is served. Stop the server with Ctrl-C or SIGTERM; requests under way
finish.

This server is for laptops and tests. Production runs the official tensorflow/serving image on the
same folders.
"""

_EXAMPLES = """\
examples:
  python -m serving serve --model movies=out/demo/export
  python -m serving serve --model movies=out/demo/export --grpc-port 0 --rest-port 0 --json
  curl http://127.0.0.1:8501/v1/models/movies
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command to `python -m serving`."""
    parser = subparsers.add_parser(
        "serve",
        help="a local server with TensorFlow Serving's API",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "--model",
        dest="models",
        action="append",
        required=True,
        type=_named_base_path,
        metavar="NAME=BASE",
        help="a model's name in requests and its base path; repeat for more models",
    )
    parser.add_argument(
        "--grpc-port",
        type=_port,
        default=8500,
        metavar="P",
        help="default 8500; 0 picks a free one",
    )
    parser.add_argument(
        "--rest-port",
        type=_port,
        default=8501,
        metavar="P",
        help="default 8501; 0 picks a free one",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; default 127.0.0.1, this machine only",
    )
    # Printed when the server is ready, not when it ends, hence not the option that other commands
    # share.
    parser.add_argument(
        "--json",
        dest="announce",
        action="store_true",
        help='print {"grpc_port", "rest_port", "models"} on stdout once the server is ready',
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Serves until SIGINT or SIGTERM arrives.

    Args:
      arguments: as parsed by the command's parser.

    Returns:
      What the server announced when it was ready.

    Raises:
      ConfigurationError: a model name is given twice.
      CommandError: a model cannot be loaded or a port cannot be opened.
    """
    models = dict(arguments.models)
    if len(models) < len(arguments.models):
        raise ConfigurationError("--model: every model needs a name of its own")
    from serving.server import LocalServer

    server = LocalServer(models, arguments.grpc_port, arguments.rest_port, arguments.host)
    stop_requested = threading.Event()
    with server:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stop_requested.set())
        ready = {
            "grpc_port": server.grpc_port,
            "rest_port": server.rest_port,
            "models": server.versions,
        }
        served = ", ".join(f"{name} version {version}" for name, version in server.versions.items())
        say(
            f"serving {served} on grpc://{server.host}:{server.grpc_port} and "
            f"http://{server.host}:{server.rest_port} (a local server for development; production "
            "runs the official tensorflow/serving image); stop with Ctrl-C"
        )
        if arguments.announce:
            print(json.dumps(ready), flush=True)
        stop_requested.wait()
        say("stopping: requests under way finish first")
    return ready


def _named_base_path(text: str) -> tuple[str, str]:
    name, _, base_path = text.partition("=")
    if not base_path or not re.fullmatch(r"[^/:\s]+", name):
        raise argparse.ArgumentTypeError(
            f"expected NAME=BASE, for example movies=out/demo/export. Received: {text!r}"
        )
    return name, base_path


def _port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535. Received: {text!r}")
    return int(text)
