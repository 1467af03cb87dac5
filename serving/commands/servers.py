"""The commands that listen until they are stopped: `serve` and `explore`."""

from __future__ import annotations

import argparse
import contextlib
import gc
import ipaddress
import json
import logging
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from configs.command_line import (
    CommandError,
    Subparsers,
    add_field_options,
    say,
    section_of,
    set_up_tensorflow,
)
from configs.loading import ConfigurationError, require_there
from configs.tracing import traces_sent
from serving.options import BatchingOptions, ExploreOptions, ServeOptions, require_base_path

if TYPE_CHECKING:
    import uvicorn

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
        if label in labels[name]:
            raise ConfigurationError(f"--version-label: {name}:{label} is given twice")
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


_SERVE_HELP = """\
Serves models on this machine with TensorFlow Serving's gRPC and REST API and its life cycle.

BASE is a model's base path: a folder whose subfolders are version numbers, as `export` writes them.
The highest version is served. A new one is loaded while the server runs and takes over when it is
ready; no request fails. Stop the server with Ctrl-C or SIGTERM; requests under way finish. A second
Ctrl-C or SIGTERM ends it at once.

This server is for laptops and tests. Production runs the official tensorflow/serving image on the
same folders and files. docs/serving.md says what differs.
"""

_SERVE_EXAMPLES = """\
examples:
  python -m serving serve --model movies=out/demo/export
  python -m serving serve --model movies=out/demo/export --grpc-port 0 --rest-port 0 --json
  python -m serving serve --model movies=out/demo/export --version-policy latest:2 \\
    --version-label movies:stable=1
  python -m serving serve --model-config models.config --batching-parameters-file batching.config
  curl http://127.0.0.1:8501/v1/models/movies
"""


def _add_announce_option(parser: argparse.ArgumentParser, keys: str, when: str) -> None:
    """Adds --json, which prints when a server is ready; that of other commands when they end."""
    text = f"print {keys} on stdout once {when}"
    parser.add_argument("--json", dest="announce", action="store_true", help=text)


def add_serve(subparsers: Subparsers) -> None:
    """Adds the command to `python -m serving`."""
    parser = subparsers.add_parser(
        "serve",
        help="a local server with TensorFlow Serving's API",
        description=_SERVE_HELP,
        epilog=_SERVE_EXAMPLES,
    )
    add_arguments(parser)
    _add_announce_option(parser, '{"grpc_port", "rest_port", "models"}', "the server is ready")
    parser.set_defaults(run=_serve)


def _serve(arguments: argparse.Namespace) -> Mapping[str, object]:
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
        option = f"--model {model.name}="
        if arguments.model_config is not None:
            option = f"--model-config {arguments.model_config}, model '{model.name}', base_path "
        require_base_path(model.base_path, option)
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


_EXPLORE_HELP = """\
Shows in a browser what knowledge does to rankings: a run or an export, beside runs or exports over
the same data. It writes nothing, and asks nothing of other machines.

pages:
  Ranking              a user's candidates as each model ranks them, with the ranks that they win or
                       lose; edit the history or a rating and it ranks anew; "why" takes a knowledge
                       match apart, rating by rating
  Item, User           what the LLM said, names and the items that they mean, nearest items in every
                       space of vectors side by side; search with /
  Winners and losers   samples that knowledge moved most, AUC by slice with intervals
  Map                  vectors in two dimensions; select items and see the AUC of their samples
  Quality              coverage, lengths, rejected answers, names that mean no item
  Versions             what a refresh changed: rows and scores

The first --compare is the model that the others are measured against: name the run without
knowledge. A run knows its data. An export does not: name its scenario with --config, or a run with
--compare.

The server listens on this machine only, unless --host says otherwise; it asks nobody for a
password, and shows answers and histories. Prompts about users are shown when asked for. Stop it
with Ctrl-C.
"""

_EXPLORE_EXAMPLES = """\
examples:
  python -m serving explore out/demo/runs/din_links_match_seed1 \\
      --compare out/demo/runs/din_none_seed1
  python -m serving explore out/demo/runs/din_links_match_seed1 \\
      --compare out/demo/runs/din_none_seed1 out/demo/runs/din_hein_seed1 --part test
  python -m serving explore out/demo/export --config configs/movielens_small.yaml
"""

_SECONDS_FOR_PAGES = 2
_POLL_SECONDS = 0.05


def add_explore(subparsers: Subparsers) -> None:
    """Adds the command to `python -m serving`."""
    parser = subparsers.add_parser(
        "explore",
        help="pages that show what knowledge does to rankings",
        description=_EXPLORE_HELP,
        epilog=_EXPLORE_EXAMPLES,
    )
    parser.add_argument(
        "folder",
        metavar="RUN_OR_EXPORT",
        help="run folder, model base path, or the folder of a version",
    )
    add_field_options(parser, ExploreOptions)
    _add_announce_option(parser, '{"url", "port", "models"}', "the pages can be opened")
    parser.set_defaults(run=_explore)


def _explore(arguments: argparse.Namespace) -> Mapping[str, object]:
    """Serves pages until SIGINT or SIGTERM arrives.

    Args:
      arguments: as parsed by the command's parser.

    Returns:
      What was announced when the pages could be opened.

    Raises:
      ConfigurationError: a folder is not there, is of another kind of model, or nothing names the
        data.
      CommandError: a folder is damaged, or the port cannot be opened.
    """
    options = section_of(arguments, ExploreOptions)
    folder = Path(arguments.folder)
    for path in (folder, *options.compare, *([options.config] if options.config else [])):
        require_there(path)
    with _listening(options.host, options.port) as listening:
        if not ipaddress.ip_address(listening.getsockname()[0]).is_loopback:
            say(
                f"warning: everybody who reaches --host {options.host} can read answers and "
                "histories; there is no password"
            )
        set_up_tensorflow()
        import uvicorn

        from serving.explore.app import explorer_app
        from serving.explore.session import Session
        from serving.server.rest_port import address_of

        session = Session.open(folder, options.compare, options.config, options.part)
        app = explorer_app(session, options.host)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_level="warning",
                server_header=False,
                timeout_graceful_shutdown=_SECONDS_FOR_PAGES,
            )
        )
        port = listening.getsockname()[1]
        ready = {
            "url": f"http://{address_of(options.host, port)}/",
            "port": port,
            "models": [ranker.name for ranker in session.rankers],
        }
        with stop_signal() as stop_requested:
            thread = threading.Thread(
                target=server.run, kwargs={"sockets": [listening]}, daemon=True
            )
            thread.start()
            _wait_until_started(server, thread)
            say(f"explore: open {ready['url']} in a browser; stop with Ctrl-C")
            if arguments.announce:
                print(json.dumps(ready), flush=True)
            stop_requested.wait()
        # A second signal does not wait for a page that takes long.
        server.should_exit = True
        thread.join()
    return ready


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens already: a browser that comes while models load waits for them.

    Raises:
      CommandError: it cannot be opened.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with contextlib.ExitStack() as closing:
            bound = closing.enter_context(socket.socket(family, kind, protocol))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen()
            closing.pop_all()
    except (OSError, UnicodeError) as error:
        raise CommandError(
            f"--host {host} --port {port}: cannot be listened on ({error}); choose another port, "
            "or 0 for a free one"
        ) from error
    return bound


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    while not server.started:
        if not thread.is_alive():
            raise CommandError("the server of the pages stopped while it started")
        time.sleep(_POLL_SECONDS)
