"""`python -m preprocessing download`."""

from __future__ import annotations

import argparse
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.command_line import EXIT_CODES_HELP, add_json_option
from configs.loading import ConfigurationError
from preprocessing.downloading.data_sets import DATA_SETS

if TYPE_CHECKING:
    from configs.command_line import Subparsers

_HELP = """\
Fetches a public data set from its publisher into data/NAME, where configs/NAME.yaml looks for it,
and writes data/NAME/download.json: addresses, sizes and checksums.

What comes is compared with the publisher's checksum where there is one, else called unverified. A
download that was cut off goes on where it ended when the command is run again. Files that are there
already are not replaced without --force.

examples:
  python -m preprocessing download --list
  python -m preprocessing download movielens_1m
  python -m preprocessing download movielens_latest --mirror http://files.example.org/movielens
"""


def add_command(subparsers: Subparsers) -> None:
    """Adds the command's parser."""
    parser = subparsers.add_parser(
        "download",
        help="public data sets, as their publishers keep them",
        description=_HELP,
        epilog=EXIT_CODES_HELP,
    )
    parser.add_argument(
        "name", nargs="?", choices=sorted(DATA_SETS), metavar="NAME", help=", ".join(DATA_SETS)
    )
    parser.add_argument("--list", action="store_true", help="show names, sources and licences")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the files (default: data/NAME)"
    )
    parser.add_argument(
        "--mirror", metavar="URL", help="a folder with the publisher's files, to be asked instead"
    )
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be fetched, fetch nothing"
    )
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Fetches and returns the JSON result."""
    from preprocessing.downloading.data_sets import default_folder
    from preprocessing.downloading.download import describe, download, list_data_sets

    if arguments.list:
        return list_data_sets()
    if arguments.name is None:
        raise ConfigurationError(f"name a data set: {', '.join(DATA_SETS)}; --list describes them")
    if arguments.mirror:
        _require_mirror(arguments.mirror)
    data_set = DATA_SETS[arguments.name]
    out = arguments.out or default_folder(data_set)
    if arguments.dry_run:
        return describe(data_set, out, arguments.mirror)
    return download(data_set, out, arguments.mirror, arguments.force)


def _require_mirror(mirror: str) -> None:
    """Checks an address that will stand in messages and in download.json.

    Raises:
      ConfigurationError: it is none, or holds a secret.
    """
    wrong = "--mirror: write an address such as http://host/folder"
    try:
        address = urllib.parse.urlsplit(mirror)
    except ValueError as error:
        raise ConfigurationError(f"{wrong} ({error})") from error
    if address.scheme not in ("http", "https") or not address.hostname:
        raise ConfigurationError(wrong)
    if address.username or address.password or address.query:
        raise ConfigurationError(
            "--mirror: must not hold a user, a password or a query, because the address is "
            "written into download.json; serve the files where none is needed"
        )
