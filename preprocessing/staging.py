"""Where the pipelines of a step write, so that workers on other machines can.

A step's result lies in the work directory of this machine. Workers elsewhere do not see it, so with
`--staging` they write into a folder of a shared file system or an object store, and the finished
files are copied from there.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preprocessing import storage


@contextmanager
def worker_folder(folder: Path, staging: str | None) -> Iterator[str]:
    """A folder that all workers of the step's pipelines see; empty at first.

    Args:
      folder: where the step's files belong in the end, on this machine.
      staging: absolute path or URL of a folder that all workers see; None when they see `folder`.

    Yields:
      Absolute path or URL. When the block ends without an error, all files in it are in `folder`.
    """
    if staging is None:
        yield storage.absolute(folder)
        return
    # The name follows from the step, so that the next run removes what a killed one left.
    place = hashlib.sha256(storage.absolute(folder).encode()).hexdigest()[:16]
    staged = storage.join(storage.absolute(staging), f"{folder.name.strip('.')}-{place}")
    storage.delete_folder(staged)
    try:
        yield staged
        for path in storage.files_below(staged):
            target = folder / path.removeprefix(staged).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            with storage.open_bytes(path) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    finally:
        storage.delete_folder(staged)
