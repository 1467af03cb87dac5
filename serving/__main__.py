"""The door of the serving room: `python -m serving COMMAND`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from configs.command_line import program_parser, run_command
from serving.commands import requests, servers, versions

_DESCRIPTION = """\
From a trained run to a served ranking.

  python -m serving export RUN --out BASE        a SavedModel in BASE/1, BASE/2, ...
  python -m serving refresh --model BASE --answers NEW.jsonl
                                                 new answers in the next version, without training
  python -m serving serve --model movies=BASE    a local server with TensorFlow Serving's API
  python -m serving predict --target http://127.0.0.1:8501 --model movies --request user.json
                                                 ranks candidates for a user, or retrieves items
  python -m serving explore RUN --compare RUN_WITHOUT_KNOWLEDGE
                                                 what knowledge does to rankings, in a browser
  python -m serving loadtest --target grpc://127.0.0.1:8500 --model movies --rate 50,100
                                                 latency and throughput at fixed arrival rates
  python -m serving deploy --config FILE.yaml --out DIR
                                                 files for Compose, Kubernetes and KServe

Every command explains itself: python -m serving COMMAND --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
      argv: the arguments after `python -m serving`; those of the process if None.

    Returns:
      The exit code: 0 done, 1 failed, 2 wrong usage or configuration.
    """
    parser = program_parser("python -m serving", _DESCRIPTION)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add_command in (
        versions.add_export,
        versions.add_refresh,
        servers.add_serve,
        requests.add_predict,
        servers.add_explore,
        requests.add_loadtest,
        versions.add_deploy,
    ):
        add_command(subparsers)
    arguments = parser.parse_args(argv)
    return run_command(arguments.run, arguments)


if __name__ == "__main__":
    sys.exit(main())
