"""The command `download`: a public data set into its folder, checked, complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, say
from configs.files import alone_in
from preprocessing.downloading.data_sets import (
    DATA_SETS,
    DataSet,
    RemoteFile,
    by_hand,
    described_next,
    next_commands,
)
from preprocessing.downloading.fetching import (
    NotThere,
    extract,
    fetch,
    file_checksums,
    published_md5,
    require_md5,
)

RECORD = "download.json"
"""What a folder holds about its own origin."""


def list_data_sets() -> dict[str, Any]:
    """Shows what can be fetched."""
    for data_set in DATA_SETS.values():
        say(f"{data_set.name}\n    {data_set.title}\n    {data_set.homepage}")
        say(f"    licence: {data_set.licence}")
    return {
        "data_sets": [
            {
                "name": data_set.name,
                "title": data_set.title,
                "homepage": data_set.homepage,
                "licence": data_set.licence,
                "addresses": [remote.addresses[0] for remote in data_set.remote],
                "files": list(data_set.files),
            }
            for data_set in DATA_SETS.values()
        ]
    }


def download(
    data_set: DataSet, out: Path, mirror: str | None = None, force: bool = False
) -> dict[str, Any]:
    """Fetches a data set.

    Args:
      data_set: which one.
      out: the folder for its files.
      mirror: address of a folder with the publisher's files, to be asked instead.
      force: replace files that are there.

    Returns:
      The JSON result: name, folder, files, and where they came from with their checksums.

    Raises:
      CommandError: files are there already, the network does not allow it, or what came is not
        what the publisher keeps.
    """
    if not force:
        if finished := _finished(data_set, out):
            say(f"download: {data_set.name} is in {out} already; next")
            say(described_next(data_set, out))
            return {**finished, "skipped": True}
        _refuse_to_replace(data_set, out)
    folder = out.resolve()
    work = _work_folder(folder)
    with alone_in(work):
        remotes = [file.at_mirror(mirror) if mirror else file for file in data_set.remote]
        try:
            sources = [_get(remote, work) for remote in remotes]
        except NotThere as error:
            raise CommandError(f"{error}\n{by_hand(data_set, out)}") from error
        ready = work / "ready"
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir()
        for remote in remotes:
            if remote.members:
                extract(work / remote.name, remote, ready)
            else:
                os.replace(work / remote.name, ready / remote.name)
        record: dict[str, Any] = {
            "name": data_set.name,
            "licence": data_set.licence,
            "homepage": data_set.homepage,
            "sources": sources,
            "files": {path.name: path.stat().st_size for path in sorted(ready.iterdir())},
        }
        folder.mkdir(exist_ok=True)
        for name in record["files"]:
            os.replace(ready / name, folder / name)
        partial = ready / RECORD
        partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        os.replace(partial, folder / RECORD)
        shutil.rmtree(work)
    _tell(data_set, out, record)
    return {**record, "out": str(out), "next": next_commands(data_set, out), "skipped": False}


def describe(data_set: DataSet, out: Path, mirror: str | None) -> dict[str, Any]:
    """What `--dry-run` says."""
    remote = [file.at_mirror(mirror) if mirror else file for file in data_set.remote]
    addresses = [address for file in remote for address in file.addresses[:1]]
    say(f"download: would fetch {', '.join(addresses)} into {out}: {', '.join(data_set.files)}")
    return {
        "name": data_set.name,
        "dry_run": True,
        "addresses": addresses,
        "out": str(out),
        "files": list(data_set.files),
    }


def _get(remote: RemoteFile, work: Path) -> dict[str, Any]:
    """Fetches and checks one file; returns where it came from."""
    path, address = fetch(remote, work)
    actual, published = file_checksums(path), published_md5(remote, address)
    if published is not None:
        require_md5(path, actual, published, address)
    return {"address": address, **asdict(actual), "verified": published is not None}


def _finished(data_set: DataSet, out: Path) -> dict[str, Any] | None:
    """The result of an earlier run whose files are all there in their size."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        sizes = {name: (out / name).stat().st_size for name in record["files"]}
        whole = record["name"] == data_set.name and record["files"] == sizes
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {**record, "out": str(out), "next": next_commands(data_set, out)} if whole else None


def _refuse_to_replace(data_set: DataSet, out: Path) -> None:
    there = [name for name in data_set.files if (out / name).exists()]
    if there:
        raise CommandError(
            f"{out}: holds {', '.join(there)} already; add --force to replace them, or name "
            "another folder with --out"
        )


def _work_folder(folder: Path) -> Path:
    """Where files wait until all of them are there: on the disk of the folder they belong in."""
    if folder.is_dir():  # its parent may be another disk
        return folder / ".download"
    return folder.with_name(f".{folder.name}.download")


def _tell(data_set: DataSet, out: Path, record: dict[str, Any]) -> None:
    for source in record["sources"]:
        verification = "as its publisher's MD5 says" if source["verified"] else "unverified"
        say(
            f"{source['address']}: {source['bytes']:,} bytes, {verification}, "
            f"sha256 {source['sha256']}"
        )
    say(f"licence: {data_set.licence}")
    say(f"download: {', '.join(record['files'])} in {out}; next")
    say(described_next(data_set, out))
