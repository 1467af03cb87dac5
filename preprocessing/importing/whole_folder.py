"""Files that appear in a folder together, when all of them are complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from configs.loading import ConfigurationError

_HIDDEN = ".import.partial"


@contextmanager
def written_whole(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Gives a hidden folder whose files are moved into the folder when the block ends well.

    A failed or killed import leaves the files of an earlier one as they were.

    Args:
      folder: the value of `--out`.
      names: the files that the block writes, in the order in which they are moved.

    Raises:
      ConfigurationError: the path is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"--out {folder}: this is a file; name a folder")
    folder.mkdir(parents=True, exist_ok=True)
    hidden = folder / _HIDDEN
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir()
    try:
        yield hidden
        for name in names:
            os.replace(hidden / name, folder / name)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
