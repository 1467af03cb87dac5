"""`python -m serving serve`: the local server."""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import logging
import re
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import Subparsers, add_field_options, say, section_of
from configs.loading import ConfigurationError
from configs.tracing import traces_sent
from serving.options import BatchingOptions, ServeOptions, require_base_path

if TYPE_CHECKING:
    from serving.server.server_files import ModelSettings

_LABEL = re.compile(r"(?P<model>[^/:\s=]+):(?P<label>[^/:\s=]+)=(?P<version>[0-9]{1,18})")


def named_base_path(text: str) -> tuple[str, str]:
    """Reads NAME=BASE."""
    name, _, base_path = text.partition("=")
    if not base_path or not re.fullmatch(r"[^/:\s]+", name):
        raise argparse.ArgumentTypeError(
            f"expected NAME=BASE, for example movies=out/demo/export. Received: {text!r}"
        )
    return name, base_path


def version_label(text: str) -> tuple[str, str, int]:
    """Reads NAME:LABEL=VERSION."""
    match = _LABEL.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(
            f"expected NAME:LABEL=VERSION, for example movies:stable=2. Received: {text!r}"
        )
    return match["model"], match["label"], int(match["version"])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds every option of the command."""
    group = parser.add_argument_group("models")
    models = group.add_mutually_exclusive_group(required=True)
    models.add_argument(
        "--model",
        dest="models",
        action="append",
        type=named_base_path,
        metavar="NAME=BASE",
        help="a model's name in requests and its base path; repeat for more models",
    )
    models.add_argument(
        "--model-config",
        metavar="FILE",
        help="TensorFlow Serving's models.config (ModelServerConfig as text) instead of --model",
    )
    group.add_argument(
        "--version-label",
        dest="version_labels",
        action="append",
        default=[],
        type=version_label,
        metavar="NAME:LABEL=VERSION",
        help="a name for a version of a --model; repeat for more",
    )
    add_field_options(parser.add_argument_group("server"), ServeOptions)
    add_field_options(
        parser.add_argument_group(
            "batching",
            "of TensorFlow Serving; checked only: this server runs requests one by one",
        ),
        BatchingOptions,
    )


def models_of(arguments: argparse.Namespace) -> list[ModelSettings]:
    """The models that the options name.

    Raises:
      ConfigurationError: a name is given twice, a label names no model, a policy has no such form,
        or the models.config is wrong.
    """
    from serving.server.server_files import ModelSettings, VersionPolicy, read_models_config

    if arguments.model_config is not None:
        if arguments.version_policy is not None or arguments.version_labels:
            raise ConfigurationError(
                "--version-policy and --version-label go with --model; write them into the file "
                f"of --model-config, {arguments.model_config}"
            )
        return read_models_config(arguments.model_config)
    base_paths = dict(arguments.models)
    if len(base_paths) < len(arguments.models):
        raise ConfigurationError("--model: every model needs a name of its own")
    labels: dict[str, dict[str, int]] = {name: {} for name in base_paths}
    for name, label, version in arguments.version_labels:
        if name not in labels:
            raise ConfigurationError(f"--version-label: there is no --model {name}=BASE")
        labels[name][label] = version
    try:
        policy = VersionPolicy.parse(arguments.version_policy or "latest")
    except ValueError as error:
        raise ConfigurationError(f"--version-policy: {error}") from error
    return [
        ModelSettings(name, Path(base), policy, labels[name]) for name, base in base_paths.items()
    ]


def check_batching_options(arguments: argparse.Namespace) -> None:
    """Checks what the options and their file say of batching, and tells that it is not done here.

    Raises:
      ConfigurationError: a value is wrong, or both are given.
    """
    from serving.server.server_files import check_batching, check_batching_file

    flags = section_of(arguments, BatchingOptions).model_dump(exclude_defaults=True)
    file = arguments.batching_parameters_file
    if file is not None and flags:
        given = ", ".join("--" + name.replace("_", "-") for name in flags)
        raise ConfigurationError(f"--batching-parameters-file cannot be combined with {given}")
    if file is not None:
        check_batching_file(file)
    check_batching(flags)
    if file is not None or flags:
        say("batching: checked; this server runs requests one by one")


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
    models = models_of(arguments)
    for model in models:
        require_base_path(model.base_path, f"--model {model.name}=")
    from serving.server import LocalServer
    from serving.server.rest_port import address_of, read_tls_settings

    # What is imported by now stays. The collector, which holds up all requests, need not look at it
    # again when a version is swapped.
    gc.collect()
    gc.freeze()
    check_batching_options(arguments)
    options = section_of(arguments, ServeOptions)
    server = LocalServer(
        models,
        options.grpc_port,
        options.rest_port,
        options.host,
        options,
        read_tls_settings(options.ssl_config_file) if options.ssl_config_file is not None else None,
    )
    # While the models load, and while the server stops, a signal ends the program as it ends any.
    with (
        traces_sent("reki-serve"),
        server,
        stop_signal() as stop_requested,
        _versions_told(),
    ):
        if options.model_config_poll_seconds:
            server.watch_models_config(arguments.model_config, options.model_config_poll_seconds)
        ready = {
            "grpc_port": server.grpc_port,
            "rest_port": server.rest_port,
            "models": server.versions,
        }
        served = ", ".join(f"{name} version {version}" for name, version in server.versions.items())
        scheme = "http" if server.tls is None else "https"
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
def stop_signal() -> Iterator[threading.Event]:
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
