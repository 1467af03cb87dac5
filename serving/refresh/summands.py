"""Tables by knowledge row from which a stored table of items is made anew."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from configs.command_line import CommandError

PROJECTED, AUGMENTED = "projected.npy", "augmented.npy"
"""What a source adds to the vectors in the place of item ids; its augmented vectors."""


def write_summand(folder: Path, name: str, table: np.ndarray) -> None:
    """Writes a table, float32 [rows, width], into a source's folder."""
    np.save(folder / name, table, allow_pickle=False)


def read_summand(folder: Path, name: str) -> np.ndarray:
    """Reads a table of a source's folder.

    Raises:
      CommandError: it is missing or damaged.
    """
    try:
        return np.load(folder / name, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CommandError(
            f"{folder / name} cannot be read ({error}); copy the version folder anew, or export "
            "again"
        ) from error
