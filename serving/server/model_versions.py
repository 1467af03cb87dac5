"""The versions of one model: which are wanted, which are loaded, and how one becomes the other."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import grpc

from serving.server.loading import load_failure
from serving.server.model_settings import ModelSettings
from serving.server.servable import Servable
from serving.server.version_folders import Fingerprint, fingerprint, version_folders
from serving.server.version_status import VersionState, VersionStatus

Load = Callable[[str, int, Path], Servable]

_log = logging.getLogger(__name__)


class ModelVersions:
    """One model's versions.

    One thread at a time may call `update` and `unload_all`; requests use the rest meanwhile.

    Attributes:
      settings: what is asked for; may be replaced between updates.
      available: version -> servable; replaced as a whole at every change.
    """

    def __init__(self, settings: ModelSettings, load: Load):
        self.settings = settings
        self.available: Mapping[int, Servable] = {}
        self._load = load
        self._statuses: dict[int, VersionStatus] = {}
        self._failures: dict[int, Fingerprint] = {}
        # The servable weakly, so that it ends with the last request on it; its engine until then,
        # so that not a request but the next look frees it.
        self._dropped: dict[int, tuple[weakref.ref[Servable], object]] = {}
        self._lock = threading.Lock()
        self._listing_error = ""

    def statuses(self) -> list[VersionStatus]:
        """Every version that was ever wanted, highest first."""
        self.end_unloading()
        with self._lock:
            return sorted(self._statuses.values(), key=lambda one: one.version, reverse=True)

    def update(self) -> None:
        """Loads the versions that are wanted and drops those that are not.

        As in TensorFlow Serving, nothing is dropped before a wanted version is available, unless
        none is wanted at all because the folders are gone. A base path that cannot be listed
        changes nothing. A version that failed is tried again only when its files have changed, or
        when its folder was gone and has come back.
        """
        try:
            folders = version_folders(self.settings.base_path)
        except OSError as error:
            self._log_once(f"{self.settings.base_path}: cannot be listed ({error.strerror})")
            return
        self._log_once("" if folders else f"{self.settings.base_path}: no version folder")
        self._failures = {
            version: content for version, content in self._failures.items() if version in folders
        }
        wanted = self.settings.policy.wanted(folders)
        self._drop_unwanted(wanted)
        to_load = [version for version in wanted if self._is_to_load(version, folders[version])]
        for version in to_load:
            self._set(VersionStatus(version, VersionState.START))
        for version in to_load:
            self._try_to_load(version, folders[version])
            self._drop_unwanted(wanted)

    def unload_all(self) -> None:
        """Drops every version."""
        self._drop_unwanted(())

    def end_unloading(self) -> bool:
        """Notes which dropped versions are gone from memory; says whether any is."""
        with self._lock:
            gone = {
                version: engine
                for version, (servable, engine) in self._dropped.items()
                if servable() is None
            }
            for version in gone:
                del self._dropped[version]
                if self._statuses[version].state is VersionState.UNLOADING:
                    self._statuses[version] = VersionStatus(version, VersionState.END)
        for version in gone:
            _log.info("model '%s': version %d is unloaded", self.settings.name, version)
        return bool(gone)

    def _is_to_load(self, version: int, folder: Path) -> bool:
        if version in self.available:
            return False
        return version not in self._failures or fingerprint(folder) != self._failures[version]

    def _try_to_load(self, version: int, folder: Path) -> None:
        name = self.settings.name
        self._set(VersionStatus(version, VersionState.LOADING))
        # Taken first, so that what is copied while it loads counts as a change.
        content = fingerprint(folder)
        try:
            servable = self._load(name, version, folder)
        except Exception as error:  # TensorFlow has no common error for a SavedModel that is broken
            code, message = load_failure(folder, error)
            self._failures[version] = content
            self._set(VersionStatus(version, VersionState.END, code, message))
            _log.warning("model '%s': skipped %s", name, message)
            return
        self._failures.pop(version, None)
        self.available = {**self.available, version: servable}
        self._set(VersionStatus(version, VersionState.AVAILABLE))
        _log.info("model '%s': version %d is available", name, version)

    def _drop_unwanted(self, wanted: Sequence[int]) -> None:
        if wanted and not any(version in self.available for version in wanted):
            return
        for version in sorted(set(self.available).difference(wanted)):
            with self._lock:
                servable = self.available[version]
                self._dropped[version] = (weakref.ref(servable), servable.engine)
                self._statuses[version] = VersionStatus(version, VersionState.UNLOADING)
            # Or this method itself would keep it.
            del servable
            self.available = {
                kept: servable for kept, servable in self.available.items() if kept != version
            }

    def _set(self, status: VersionStatus) -> None:
        with self._lock:
            self._statuses[status.version] = status

    def _log_once(self, message: str) -> None:
        if message and message != self._listing_error:
            _log.warning("model '%s': %s", self.settings.name, message)
        self._listing_error = message


def failure_text(versions: ModelVersions) -> str:
    """Why a model has no version available, one line a reason."""
    base_path = versions.settings.base_path
    if not base_path.is_dir():
        return f"{base_path}: no such folder; it should hold version folders"
    reasons = [one.message for one in versions.statuses() if one.code is not grpc.StatusCode.OK]
    return "\n  ".join(reasons) or (
        f"{base_path}: no folder of a version that the policy wants; a version's folder is a "
        "number, such as 1"
    )
