"""The models a server holds: which version of each, and how requests find it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from configs.command_line import CommandError
from serving.protocol.messages import model_pb2
from serving.server.errors import invalid, not_found
from serving.server.servable import Servable

_log = logging.getLogger(__name__)


class ModelStore:
    """Servables by model name, one version each."""

    def __init__(self, servables: Mapping[str, Servable]):
        self._servables = dict(servables)

    @classmethod
    def load(cls, base_paths: Mapping[str, str | Path]) -> ModelStore:
        """Loads the latest version of every model.

        Args:
          base_paths: model name -> folder that holds version folders.

        Raises:
          CommandError: a model has no version that loads; the message names the folder.
        """
        return cls({name: load_latest(name, path) for name, path in base_paths.items()})

    @property
    def versions(self) -> dict[str, int]:
        """Model name -> the version that is served."""
        return {name: servable.version for name, servable in self._servables.items()}

    def find(self, specification: model_pb2.ModelSpec) -> Servable:
        """The servable that a request asks for.

        Raises:
          RequestError: NOT_FOUND for an unknown model or version, INVALID_ARGUMENT for a request
            without a model name or with a version label.
        """
        name = specification.name
        if not name:
            raise invalid("The request's ModelSpec names no model.")
        if specification.WhichOneof("version_choice") == "version_label":
            raise invalid(
                f'Unknown version label "{specification.version_label}": this server has no '
                "labels. Ask for a version number, or for none to get the latest."
            )
        servable = self._servables.get(name)
        if servable is None:
            known = ",".join(sorted(self._servables))
            raise not_found(f'No servable found for model "{name}". Served here: {{{known}}}.')
        if specification.HasField("version") and specification.version.value != servable.version:
            raise not_found(
                f'No servable found for version {specification.version.value} of model "{name}". '
                f"Served here: version {servable.version}."
            )
        return servable


def load_latest(name: str, base_path: str | Path) -> Servable:
    """Loads the highest version that loads; broken ones are skipped and logged.

    Raises:
      CommandError: there is no such folder, or no version in it loads.
    """
    base = Path(base_path)
    if not base.is_dir():
        raise CommandError(
            f"{base}: no such folder; model '{name}' needs a folder of version folders"
        )
    reasons = []
    for version, folder in version_folders(base):
        try:
            return Servable(name, version, folder)
        except Exception as error:  # TensorFlow has no common error for a SavedModel that is broken
            reason = f"{folder}: {_reason(folder, error)}"
            _log.warning("model '%s': skipped %s", name, reason)
            reasons.append(reason)
    found = "\n  ".join(reasons) or "it has no folder whose name is a version number, such as 1"
    raise CommandError(f"{base}: no version of model '{name}' can be loaded:\n  {found}")


def version_folders(base: Path) -> list[tuple[int, Path]]:
    """Version numbers and their folders, highest first; other entries are no versions."""
    folders = [entry for entry in base.iterdir() if entry.is_dir()]
    numbered = [(int(entry.name), entry) for entry in folders if _is_number(entry.name)]
    return sorted(numbered, reverse=True)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdecimal()


def _reason(folder: Path, error: Exception) -> str:
    if not (folder / "saved_model.pb").is_file():
        return "no saved_model.pb (an export that was not finished?)"
    first_line = (str(error).strip().splitlines() or [""])[0]
    return f"not a loadable SavedModel ({type(error).__name__}: {first_line})"
