"""Writing the next version below a model's base path: whole, or not at all.

A version is written under a hidden name and moved into place, so a server that watches the base
path never sees half of it. One process at a time writes to a base path.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from configs.command_line import CommandError, free_space
from configs.folder_lock import alone_in
from serving.version_folders import version_folders


@dataclass(frozen=True)
class NextVersion:
    """A version in the making.

    Attributes:
      number: above that of every other version.
      path: where it will be.
      unfinished: where it is written to; nothing is there yet.
    """

    number: int
    path: Path
    unfinished: Path


class Publisher:
    """Writes versions to a base path that this process holds, see `publishing`."""

    def __init__(self, base: Path):
        """Begins with no version."""
        self._base = base

    @contextlib.contextmanager
    def next_version(self) -> Iterator[NextVersion]:
        """Moves what the block writes into place when it ends, and removes it when it fails.

        What a killed process left under the hidden name is removed first.
        """
        number = max(version_folders(self._base), default=0) + 1
        unfinished = self._base / f".{number}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        version = NextVersion(number, self._base / str(number), unfinished)
        try:
            yield version
            unfinished.rename(version.path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def written_by_tensorflow(folder: Path) -> Iterator[None]:
    """Says what kept TensorFlow from writing a SavedModel: a full disk, for example.

    Raises:
      CommandError: TensorFlow could not write.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        reason = error.message.splitlines()[0]
        raise CommandError(
            f"{folder}: cannot be written ({reason}; {free_space(folder)} are free there); nothing "
            "is published, and earlier versions are as they were"
        ) from error


@contextlib.contextmanager
def publishing(base: Path) -> Iterator[Publisher]:
    """Holds a base path until the block, or the process, ends; makes it if it is not there.

    Raises:
      CommandError: another export or refresh holds it.
    """
    with alone_in(base):
        yield Publisher(base)
