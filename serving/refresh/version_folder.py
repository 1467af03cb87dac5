"""Finding the version that a refresh goes on from, and writing the next one."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.loading import ConfigurationError
from serving.export_manifest import MANIFEST, verify_manifest
from serving.refresh.checkpoint import VARIABLES
from serving.refresh.notes import Shapes, note_on_card, write_manifest

_VERSION = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class BaseVersion:
    """The version that a refresh goes on from.

    Attributes:
      folder: the version folder.
      number: its number.
      next_number: the number of the next version.
      manifest: what the version says it is; None where it has none.
    """

    folder: Path
    number: int
    next_number: int
    manifest: dict[str, Any] | None

    @classmethod
    def find(cls, base: str | Path, number: int | None = None) -> BaseVersion:
        """Finds a version and makes sure that it is whole.

        Args:
          base: model base path.
          number: of the version; the highest if None.

        Raises:
          ConfigurationError: there is no version, or none of this number.
          CommandError: a file of the version is missing or changed.
        """
        base = Path(base)
        entries = base.iterdir() if base.is_dir() else ()
        numbers = sorted(
            int(entry.name)
            for entry in entries
            if _VERSION.fullmatch(entry.name) and entry.is_dir()
        )
        if not numbers:
            raise ConfigurationError(
                f"--model {base}: there is no version folder (1, 2, ...) in it; name the model "
                "base path that 'python -m serving export --out' wrote"
            )
        if number is not None and number not in numbers:
            there = ", ".join(map(str, numbers))
            raise ConfigurationError(f"--version {number}: {base} holds the versions {there}")
        chosen = numbers[-1] if number is None else number
        folder = base / str(chosen)
        has_manifest = (folder / MANIFEST).exists()
        return cls(
            folder, chosen, numbers[-1] + 1, verify_manifest(folder) if has_manifest else None
        )

    def write_next(
        self, write_changes: Callable[[Path], None], report: Mapping[str, Any], shapes: Shapes
    ) -> Path:
        """Writes the next version under a hidden name and moves it into place.

        Args:
          write_changes: writes variables and the changed refresh files into a copy of the version.
          report: what the refresh did, for manifest and model card.
          shapes: checkpoint key -> shape of variables that changed.

        Returns:
          The version folder.
        """
        path = self.folder.with_name(str(self.next_number))
        unfinished = self.folder.with_name(f".{self.next_number}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            shutil.copytree(self.folder, unfinished, ignore=_rewritten(self.folder))
            write_changes(unfinished)
            noted = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "from_version": self.number,
                **report,
            }
            note_on_card(unfinished, noted)
            if self.manifest is not None:
                write_manifest(unfinished, self.manifest, noted, shapes)
            unfinished.rename(path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        return path


def _rewritten(folder: Path) -> Callable[[str, list[str]], set[str]]:
    """What is not copied: the variables, and the manifest, which lists other files."""
    top, manifest = str(folder), folder / MANIFEST

    def ignored(directory: str, names: list[str]) -> set[str]:
        return {
            name
            for name in names
            if (directory == top and name == VARIABLES) or Path(directory) / name == manifest
        }

    return ignored
