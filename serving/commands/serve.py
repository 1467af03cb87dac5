"""`python -m serving serve`: the local server."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping

from configs.command_line import Subparsers, say
from configs.loading import ConfigurationError
from serving.commands.serve_arguments import add_arguments, models_of, options_of

_DESCRIPTION = """\
Serves models on this machine with TensorFlow Serving's gRPC and REST API and its life cycle.

BASE is a model's base path: a folder whose subfolders are version numbers, as `export` writes them.
The highest version is served. A new one is loaded while the server runs and takes over when it is
ready; no request fails. Stop the server with Ctrl-C or SIGTERM; requests under way finish. A second
Ctrl-C or SIGTERM ends it at once.

This server is for laptops and tests. Production runs the official tensorflow/serving image on the
same folders and files. docs/serving.md says what differs.
"""

_EXAMPLES = """\
examples:
  python -m serving serve --model movies=out/demo/export
  python -m serving serve --model movies=out/demo/export --grpc-port 0 --rest-port 0 --json
  python -m serving serve --model movies=out/demo/export --version-policy latest:2 \\
    --version-label movies:stable=1
  python -m serving serve --model-config models.config --batching-parameters-file batching.config
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
    add_arguments(parser)
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
      ConfigurationError: an option or a file of options is wrong.
      CommandError: a model cannot be loaded or a port cannot be opened.
    """
    if arguments.model_config is None and arguments.model_config_poll_seconds:
        raise ConfigurationError("--model-config-poll-seconds needs --model-config")
    from serving.server import LocalServer
    from serving.server.network_address import address_of

    # What is imported by now stays. The collector, which holds up all requests, need not look at it
    # again when a version is swapped.
    gc.collect()
    gc.freeze()
    server = LocalServer(
        models_of(arguments),
        arguments.grpc_port,
        arguments.rest_port,
        arguments.host,
        options_of(arguments),
    )
    # While the models load, and while the server stops, a signal ends the program as it ends any.
    with server, _stop_signal() as stop_requested, _versions_told():
        if arguments.model_config_poll_seconds:
            server.watch_models_config(arguments.model_config, arguments.model_config_poll_seconds)
        ready = {
            "grpc_port": server.grpc_port,
            "rest_port": server.rest_port,
            "models": server.versions,
        }
        served = ", ".join(f"{name} version {version}" for name, version in server.versions.items())
        scheme = "http" if server.options.tls is None else "https"
        say(
            f"serving {served} on grpc://{address_of(server.host, server.grpc_port)} and "
            f"{scheme}://{address_of(server.host, server.rest_port)} (a local server for "
            "development; production runs the official tensorflow/serving image); stop with Ctrl-C"
        )
        if arguments.announce:
            print(json.dumps(ready), flush=True)
        stop_requested.wait()
        say("stopping: requests under way finish first")
    return ready


@contextlib.contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; afterwards they do what they did before."""
    event = threading.Event()
    handlers = {
        number: signal.signal(number, lambda *_: event.set())
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield event
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _versions_told() -> Iterator[None]:
    """Tells on stderr which versions come and go, and what goes wrong."""
    logger = logging.getLogger("serving.server")
    level = logger.level
    handler = logging.StreamHandler(sys.stderr)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
