"""The report of a `forget`: what was removed where, signed, for machines and for people."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from configs import __version__
from configs.command_line import CommandError, say
from configs.documents import render
from configs.files import file_sha256
from preprocessing import storage

KEY_VARIABLE = "REKI_REPORT_KEY"
"""Environment variable with the key that reports are signed with."""

_ALGORITHM = "HMAC-SHA256"
_SIGNATURE = "signature"
_TEMPLATE = Path(__file__).with_name("report.md.jinja")


@dataclass(frozen=True)
class Report:
    """What a `forget` did; no id stands in it.

    Attributes:
      work_dir: the work directory.
      started: ISO time of the first run, also where that was interrupted.
      subjects: `entity`, "user" or "item", and `hash` of each id, see `Forgotten.hash_of`.
      tombstones: `file` with these hashes and their salt, and its `sha256`.
      files: `file`, SHA-256 `before` and `after`, None of one that is gone, and `removed` by kind,
        of every edited file.
      removed: of all files by kind.
      still_there: `what`, `file`, `rows` and `do`, of what the owner has to edit.
      to_do: `what` and `command`, of what has to be made anew.
    """

    work_dir: str
    started: str
    subjects: tuple[Mapping[str, str], ...]
    tombstones: Mapping[str, str]
    files: tuple[Mapping[str, Any], ...]
    removed: Mapping[str, int]
    still_there: tuple[Mapping[str, Any], ...]
    to_do: tuple[Mapping[str, str], ...]


def write_report(report: Report, folder: Path, earlier: Path | None = None) -> Path:
    """Writes the report as JSON, signed if there is a key, and beside it as a page.

    Args:
      report: the report.
      folder: where it belongs.
      earlier: what was written of the same run and is replaced; None begins a new report.

    Returns:
      The JSON file.
    """
    contents = {"tool": f"reki {__version__}", **asdict(report)}
    key = os.environ.get(KEY_VARIABLE)
    if not key and earlier is None:
        say(f"the report is not signed: the environment variable {KEY_VARIABLE} is not set")
    contents[_SIGNATURE] = (
        {"algorithm": _ALGORITHM, "value": _signature(contents, key)} if key else None
    )
    stamp = report.started.partition("+")[0].replace("-", "").replace(":", "")
    digest = hashlib.sha256(_canonical(contents)).hexdigest()[:8]
    path = earlier or folder / f"{stamp}-{digest}.json"
    for target, text in (
        (path.with_suffix(".md"), render(_TEMPLATE, {**contents, "file": path.name})),
        (path, json.dumps(contents, indent=2) + "\n"),
    ):
        with storage.create_bytes(str(target)) as file:
            file.write(text.encode())
    return path


def sha256_now(name: str) -> str | None:
    """SHA-256 of a file as it is now; None if there is none."""
    path = Path(name)
    return file_sha256(path) if path.is_file() else None


def verify_report(path: Path) -> dict[str, Any]:
    """Checks a report's signature, and says which of its files have changed since.

    Returns:
      `report`, `signed`, and `changed`, files that are not, or not as, the report says.

    Raises:
      CommandError: it is no report, was changed, is signed and there is no key, or is not and
        there is one; or files have changed, with the result.
    """
    try:
        contents = json.loads(path.read_bytes())
        signature, files = contents.pop(_SIGNATURE), contents["files"]
        value = None if signature is None else str(signature["value"])
        changed = [entry["file"] for entry in files if sha256_now(entry["file"]) != entry["after"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CommandError(f"{path}: not a report of 'forget' ({error})") from error
    key = os.environ.get(KEY_VARIABLE)
    if key and value is None:
        raise CommandError(
            f"{path}: is not signed, and {KEY_VARIABLE} is set: somebody took the signature off, "
            "or it was written without a key; unset the variable to check its files alone"
        )
    if value is None:
        say(f"{path}: not signed")
    elif not key:
        raise CommandError(f"{path}: is signed; set {KEY_VARIABLE} to the key it was signed with")
    elif not hmac.compare_digest(
        value.encode(errors="replace"), _signature(contents, key).encode()
    ):
        raise CommandError(
            f"{path}: the signature is wrong: the report was changed, or signed with another key "
            f"than {KEY_VARIABLE} holds"
        )
    else:
        say(f"{path}: the signature is right")
    for name in changed:
        say(f"changed or gone since: {name}")
    result = {"report": str(path), "signed": value is not None, "changed": changed}
    if changed:
        raise CommandError(f"{path}: {len(changed)} of its files are not as it says", result)
    return result


def _signature(contents: Mapping[str, Any], key: str) -> str:
    return hmac.digest(key.encode(), _canonical(contents), "sha256").hex()


def _canonical(contents: Mapping[str, Any]) -> bytes:
    return json.dumps(contents, sort_keys=True, separators=(",", ":")).encode()
