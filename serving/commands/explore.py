"""`python -m serving explore`: pages that show what knowledge does to rankings."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import socket
import threading
import time
from collections.abc import Mapping
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
from configs.loading import require_there
from serving.options import ExploreOptions

if TYPE_CHECKING:
    import uvicorn

_DESCRIPTION = """\
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

_EXAMPLES = """\
examples:
  python -m serving explore out/demo/runs/din_links_match_seed1 \\
      --compare out/demo/runs/din_none_seed1
  python -m serving explore out/demo/runs/din_links_match_seed1 \\
      --compare out/demo/runs/din_none_seed1 out/demo/runs/din_hein_seed1 --part test
  python -m serving explore out/demo/export --config configs/movielens_small.yaml
"""

_GRACE_SECONDS = 2
_POLL_SECONDS = 0.05


def add_command(subparsers: Subparsers) -> None:
    """Adds the command to `python -m serving`."""
    parser = subparsers.add_parser(
        "explore",
        help="pages that show what knowledge does to rankings",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
    )
    parser.add_argument(
        "folder",
        metavar="RUN_OR_EXPORT",
        help="run folder, model base path, or the folder of a version",
    )
    add_field_options(parser, ExploreOptions)
    # Printed when the server is ready, not when it ends, hence not the option that other commands
    # share.
    parser.add_argument(
        "--json",
        dest="announce",
        action="store_true",
        help='print {"url", "port", "models"} on stdout once the pages can be opened',
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> Mapping[str, object]:
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

        from serving.commands.serve import stop_signal
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
                timeout_graceful_shutdown=_GRACE_SECONDS,
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
