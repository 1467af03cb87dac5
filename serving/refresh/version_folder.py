"""Finding the version that a refresh goes on from, and writing the next one."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.loading import ConfigurationError
from serving.export_manifest import MANIFEST, exporting_code_version, verify_manifest
from serving.refresh.checkpoint import VARIABLES
from serving.refresh.notes import Shapes, note_on_card, write_manifest
from serving.version_folders import version_folders
from serving.version_publishing import NextVersion, Publisher


@dataclass(frozen=True)
class BaseVersion:
    """The version that a refresh goes on from.

    Attributes:
      folder: the version folder.
      number: its number.
      manifest: what the version says it is; None where it has none.
    """

    folder: Path
    number: int
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
        folders = require_versions(base)
        if number is not None and number not in folders:
            there = ", ".join(map(str, sorted(folders)))
            raise ConfigurationError(f"--version {number}: {base} holds the versions {there}")
        chosen = max(folders) if number is None else number
        folder = folders[chosen]
        has_manifest = (folder / MANIFEST).exists()
        return cls(folder, chosen, verify_manifest(folder) if has_manifest else None)

    def write_next(
        self,
        publisher: Publisher,
        write_changes: Callable[[Path], None],
        report: Mapping[str, Any],
        shapes: Shapes,
    ) -> NextVersion:
        """Writes the next version.

        Args:
          publisher: of the base path.
          write_changes: writes variables and the changed refresh files into a copy of the version.
          report: what the refresh did, for manifest and model card.
          shapes: checkpoint key -> shape of variables that changed.

        Returns:
          Where it is.
        """
        with publisher.next_version() as version:
            folder = version.unfinished
            shutil.copytree(self.folder, folder, ignore=_rewritten(self.folder))
            write_changes(folder)
            noted = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "from_version": self.number,
                "code_version": exporting_code_version(),
                **report,
            }
            note_on_card(folder, noted)
            if self.manifest is not None:
                write_manifest(folder, self.manifest, noted, shapes)
        return version


def require_versions(base: str | Path) -> dict[int, Path]:
    """The versions of a base path: number -> folder.

    Raises:
      ConfigurationError: there is none.
    """
    base = Path(base)
    folders = version_folders(base) if base.is_dir() else {}
    if not folders:
        raise ConfigurationError(
            f"--model {base}: there is no version folder (1, 2, ...) in it; name the model base "
            "path that 'python -m serving export --out' wrote"
        )
    return folders


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
