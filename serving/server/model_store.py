"""The models a server holds: versions loaded, warmed up, labelled and dropped, and found."""

from __future__ import annotations

import dataclasses
import enum
import logging
import os
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import grpc
import tensorflow as tf

from configs.command_line import CommandError
from configs.serving import MOST_WARMUP_REQUESTS
from preprocessing.records.tfrecord_file import BrokenRecord, records_in
from serving.protocol.messages import get_model_status_pb2, model_pb2, prediction_log_pb2
from serving.protocol.tensors import unpack
from serving.publishing import WARMUP_FILE, version_folders
from serving.server import metrics
from serving.server.errors import RequestError, invalid, not_found
from serving.server.servable import Servable, classify, regress, signature_name_of, status_code_of
from serving.server.server_files import ModelSettings, check_base_paths, settings_by_name


def replay_warmup(servable: Servable, folder: Path) -> None:
    """Runs the logged requests of Predict, Classify and Regress.

    Args:
      servable: a version that serves no requests yet.
      folder: its version folder; without a warm-up file nothing runs.

    Raises:
      RequestError: a request fails, there are more than 1000, or one is of another kind; as in
        TensorFlow Serving the version then counts as broken.
      tensorflow.errors.DataLossError: the file is damaged, or cut off anywhere, which TensorFlow
        Serving takes for its end where only a record's length is incomplete.
      OSError: the file cannot be read.
      google.protobuf.message.DecodeError: a record is no PredictionLog.
    """
    path = folder / WARMUP_FILE
    if not path.is_file():
        return
    for number, record in enumerate(_records(path), 1):
        if number > MOST_WARMUP_REQUESTS:
            raise invalid(
                f"Number of warmup records exceeds the maximum ({MOST_WARMUP_REQUESTS}): {path}"
            )
        _replay(servable, prediction_log_pb2.PredictionLog.FromString(record))


def _records(path: Path) -> Iterator[bytes]:
    # TensorFlow's own reader is a graph, which takes longer to build than the requests to run.
    try:
        yield from records_in(iter([path.read_bytes()]))
    except BrokenRecord as error:
        message = f"{path}: record {error.number}: {error}"
        raise tf.errors.DataLossError(None, None, message) from error


def _replay(servable: Servable, log: prediction_log_pb2.PredictionLog) -> None:
    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        request = log.predict_log.request
        inputs = {name: unpack(tensor) for name, tensor in request.inputs.items()}
        servable.run(signature_name_of(request.model_spec), inputs, request.output_filter)
    elif kind == "classify_log":
        classified = log.classify_log.request
        classify(servable, signature_name_of(classified.model_spec), classified.input)
    elif kind == "regress_log":
        regressed = log.regress_log.request
        regress(servable, signature_name_of(regressed.model_spec), regressed.input)
    else:
        raise invalid(f"Unsupported log_type for warmup: {kind}")


def load_servable(name: str, version: int, folder: Path) -> Servable:
    """Loads and warms up.

    Args:
      name: the model's name in requests.
      version: the folder's number.
      folder: the SavedModel.

    Raises:
      Exception: whatever TensorFlow or the warm-up raises when the version is broken.
    """
    with metrics.counted_load(str(folder)):
        servable = Servable(name, version, folder)
        replay_warmup(servable, folder)
    return servable


def load_failure(folder: Path, error: Exception) -> tuple[grpc.StatusCode, str]:
    """The status of a version that cannot be loaded: a code, and one line that names the folder."""
    if not (folder / "saved_model.pb").is_file():
        message = f"{folder}: no saved_model.pb (an export that was not finished?)"
        return grpc.StatusCode.NOT_FOUND, message
    first_line = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, RequestError):
        return error.code, f"{folder}: a warm-up request failed: {first_line}"
    code = (
        status_code_of(error)
        if isinstance(error, tf.errors.OpError)
        else grpc.StatusCode.FAILED_PRECONDITION
    )
    return code, f"{folder}: not a loadable SavedModel ({type(error).__name__}: {first_line})"


_Message = get_model_status_pb2.ModelVersionStatus


class VersionState(enum.Enum):
    """TensorFlow Serving's states, with its numbers."""

    START = _Message.START
    LOADING = _Message.LOADING
    AVAILABLE = _Message.AVAILABLE
    UNLOADING = _Message.UNLOADING
    END = _Message.END


@dataclasses.dataclass(frozen=True)
class VersionStatus:
    """A version's state, and the error that ended it.

    Attributes:
      version: the folder's number.
      state: START found, LOADING, AVAILABLE, UNLOADING (no new requests), END (unloaded or failed).
      code: OK unless loading failed.
      message: what failed.
    """

    version: int
    state: VersionState
    code: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""

    def add_to(self, response: get_model_status_pb2.GetModelStatusResponse) -> None:
        """Adds the version to a response."""
        response.model_version_status.add(
            version=self.version,
            state=self.state.value,
            status={"error_code": self.code.value[0], "error_message": self.message},
        )


Labels = Mapping[str, Mapping[str, int]]
"""Model name -> label -> version."""


def checked_labels(
    models: Collection[ModelSettings],
    available: Mapping[str, Collection[int]],
    current: Labels,
    allow_unavailable: bool,
) -> Labels:
    """The labels that models ask for, when TensorFlow Serving's rules allow them.

    Args:
      models: with the labels that are asked for.
      available: model name -> versions that can be asked.
      current: the labels until now.
      allow_unavailable: whether a label that is new, or stays where it is, may name a version that
        is not available. A label in use never moves to such a version.

    Raises:
      RequestError: FAILED_PRECONDITION; a label names a version that is not available.
    """
    for model in models:
        for label, version in model.labels.items():
            moves = current.get(model.name, {}).get(label, version) != version
            if version in available.get(model.name, ()) or (allow_unavailable and not moves):
                continue
            raise RequestError(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"Request to assign label to version {version} of model {model.name}, "
                "which is not currently available for inference",
            )
    return {model.name: dict(model.labels) for model in models}


Load = Callable[[str, int, Path], Servable]

_log = logging.getLogger(__name__)

FolderState = frozenset[tuple[str, int, int]]


def folder_state(folder: Path) -> FolderState:
    """Path, time of change (ns) and size of every file below a folder, as far as it can be read."""
    found = set()
    # Unlike `Path.rglob`, which fails where a folder is deleted while it is listed.
    for directory, folders, files in os.walk(folder):
        for path in (Path(directory, name) for name in (*folders, *files)):
            try:
                status = path.stat()
            except OSError:  # deleted meanwhile
                continue
            found.add((str(path.relative_to(folder)), status.st_mtime_ns, status.st_size))
    return frozenset(found)


@dataclasses.dataclass(frozen=True, eq=False)
class _Dropped:
    """A version that gets no new requests.

    Attributes:
      version: the folder's number.
      servable: weakly, so that it ends with the last request on it.
      engine: its engine, so that not the thread of that request frees it.
    """

    version: int
    servable: weakref.ref[Servable]
    engine: object

    @property
    def is_in_use(self) -> bool:
        return self.servable() is not None


class ModelVersions:
    """One model's versions.

    One thread at a time may call `update` and `unload_all`; others use the rest meanwhile.

    Attributes:
      settings: what is asked for; may be replaced between updates.
      available: version -> servable; replaced as a whole at every change.
    """

    def __init__(self, settings: ModelSettings, load: Load):
        self.settings = settings
        self.available: Mapping[int, Servable] = {}
        self._load = load
        self._statuses: dict[int, VersionStatus] = {}
        self._failures: dict[int, FolderState] = {}
        # A version that was loaded and dropped again may be here more than once.
        self._dropped: list[_Dropped] = []
        self._lock = threading.Lock()
        self._listing_error = ""

    def statuses(self) -> list[VersionStatus]:
        """Every version that was ever wanted, highest first."""
        with self._lock:
            in_use = {one.version for one in self._dropped if one.is_in_use}
            statuses = [_seen(status, in_use) for status in self._statuses.values()]
        return sorted(statuses, key=lambda one: one.version, reverse=True)

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
        """Lets go of the engines that no request needs any more; says whether there are any."""
        with self._lock:
            gone = [one for one in self._dropped if not one.is_in_use]
            self._dropped = [one for one in self._dropped if one not in gone]
            in_use = {one.version for one in self._dropped}
            for one in gone:
                self._statuses[one.version] = _seen(self._statuses[one.version], in_use)
        for one in gone:
            _log.info("model '%s': version %d is unloaded", self.settings.name, one.version)
        return bool(gone)

    def _is_to_load(self, version: int, folder: Path) -> bool:
        if version in self.available:
            return False
        return version not in self._failures or folder_state(folder) != self._failures[version]

    def _try_to_load(self, version: int, folder: Path) -> None:
        name = self.settings.name
        self._set(VersionStatus(version, VersionState.LOADING))
        # Taken first, so that what is copied while it loads counts as a change.
        content = folder_state(folder)
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
                self._dropped.append(_Dropped(version, weakref.ref(servable), servable.engine))
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


def _seen(status: VersionStatus, in_use: Collection[int]) -> VersionStatus:
    """The status, with the end that an unloading version reaches with its last request."""
    if status.state is VersionState.UNLOADING and status.version not in in_use:
        return VersionStatus(status.version, VersionState.END)
    return status


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


def _label_failure(models: Iterable[ModelVersions]) -> str:
    """Why a label cannot be given at the start, and what to do."""
    model, label, version = next(
        (model, label, version)
        for model in models
        for label, version in model.settings.labels.items()
        if version not in model.available
    )
    settings = model.settings
    there, served = (
        ", ".join(map(str, sorted(versions)))
        for versions in (version_folders(settings.base_path), model.available)
    )
    return (
        f"--version-label {settings.name}:{label}={version}, or version_labels of models.config: "
        f"version {version} is not available. {settings.base_path} holds the versions {there}, of "
        f"which the policy serves {served}. Name one of these, serve more (--version-policy all), "
        "or give --allow-version-labels-for-unavailable-models"
    )


class ModelStore:
    """Models by name; each with its versions and labels.

    Requests read snapshots, so they never wait for a load. Whoever changes the store (the start, a
    poll, a reload) does so one after the other.

    Attributes:
      allow_labels_for_unavailable: whether a new label may be given to a version that is not
        available.
      on_change: called when versions may have come or gone, before the next change begins.
    """

    def __init__(
        self,
        models: Iterable[ModelSettings],
        load: Load = load_servable,
        allow_labels_for_unavailable: bool = False,
        on_change: Callable[[], None] = lambda: None,
    ):
        self.allow_labels_for_unavailable = allow_labels_for_unavailable
        self.on_change = on_change
        self._load = load
        self._models = {
            name: ModelVersions(settings, load)
            for name, settings in settings_by_name(models).items()
        }
        # Models that a reload removed; they serve nothing, but their versions have a status.
        self._removed: dict[str, ModelVersions] = {}
        self._labels: Labels = {}
        self._changing = threading.Lock()

    @property
    def versions(self) -> dict[str, int]:
        """Model name -> the highest version that is available."""
        return {
            name: max(model.available) for name, model in self._models.items() if model.available
        }

    @property
    def is_ready(self) -> bool:
        """Whether every model has a version available."""
        return all(model.available for model in self._models.values())

    def start(self) -> None:
        """Loads every wanted version, and then gives the labels.

        Raises:
          CommandError: a model has no version that loads, or a label names a version that is not
            available.
        """
        with self._changing:
            for name, model in self._models.items():
                model.update()
                if not model.available:
                    raise CommandError(
                        f"{model.settings.base_path}: no version of model '{name}' can be loaded:"
                        f"\n  {failure_text(model)}"
                    )
            try:
                self._labels = self._new_labels(
                    {name: model.settings for name, model in self._models.items()}
                )
            except RequestError as error:
                raise CommandError(_label_failure(self._models.values())) from error
            self.on_change()

    def poll(self) -> None:
        """Looks at the base paths once, and loads and drops what has changed."""
        with self._changing:
            for model in self._models.values():
                model.update()
            self.end_unloading()
            self.on_change()

    def reload(self, models: Iterable[ModelSettings]) -> None:
        """Replaces models, policies and labels, by TensorFlow Serving's rules.

        Labels are checked and given before anything is loaded, so a label moves only to a version
        that is available already. Returns when every wanted version is available or has failed.

        Raises:
          RequestError: INVALID_ARGUMENT for a name given twice or a base path that changes,
            FAILED_PRECONDITION for a label of a version that is not available (nothing changes in
            these cases); UNKNOWN for models of which no version becomes available.
        """
        with self._changing:
            try:
                settings = settings_by_name(models)
                check_base_paths([model.settings for model in self._models.values()], settings)
            except ValueError as error:
                raise invalid(str(error)) from error
            self._labels = self._new_labels(settings)
            removed = {name: self._models[name] for name in self._models.keys() - settings.keys()}
            self._removed = {**self._removed, **removed}
            self._models = {name: self._with_settings(one) for name, one in settings.items()}
            for model in removed.values():
                model.unload_all()
            for model in self._models.values():
                model.update()
            self.end_unloading()
            failed = [model for model in self._models.values() if not model.available]
            self.on_change()
        if failed:
            reasons = ", ".join(f"{{{one.settings.name}: {failure_text(one)}}}" for one in failed)
            raise RequestError(
                grpc.StatusCode.UNKNOWN,
                f"{len(failed)} model(s) did not become available: {{{reasons}}}",
            )

    def end_unloading(self) -> None:
        """Frees the versions that are dropped and answer no request any more."""
        for model in [*self._models.values(), *self._removed.values()]:
            model.end_unloading()

    def is_configured(self, name: str) -> bool:
        """Whether a model of this name is to be served."""
        return name in self._models

    def find(self, specification: model_pb2.ModelSpec) -> Servable:
        """The servable that a request asks for: a version, a label's version, or the highest one.

        It stays in memory as long as the caller refers to it, even when it is dropped meanwhile.

        Raises:
          RequestError: NOT_FOUND for a model or version that is not available, INVALID_ARGUMENT for
            a request without a model name or with an unknown label.
        """
        name = specification.name
        version = self._version_of(specification)
        model = self._models.get(name)
        available = model.available if model is not None else {}
        if version is None:
            if not available:
                raise not_found(f"Servable not found for request: Latest({name})")
            return available[max(available)]
        if version not in available:
            raise not_found(f"Servable not found for request: Specific({name}, {version})")
        return available[version]

    def statuses(self, specification: model_pb2.ModelSpec) -> list[VersionStatus]:
        """The states of a model's versions, highest first; of one version if the request names it.

        Raises:
          RequestError: as `find`; but every version that was ever wanted has a status.
        """
        name = specification.name
        version = self._version_of(specification)
        model = self._models.get(name) or self._removed.get(name)
        statuses = model.statuses() if model is not None else []
        if version is not None:
            statuses = [status for status in statuses if status.version == version]
            if not statuses:
                raise not_found(f"Could not find version {version} of model {name}")
        elif not statuses:
            raise not_found(f"Could not find any versions of model {name}")
        return statuses

    def _version_of(self, specification: model_pb2.ModelSpec) -> int | None:
        if not specification.name:
            raise invalid("ModelSpec has no name specified.")
        choice = specification.WhichOneof("version_choice")
        if choice == "version_label":
            label = specification.version_label
            labels = self._labels.get(specification.name, {})
            if label not in labels:
                raise invalid(f"Unrecognized servable version label: {label}")
            return labels[label]
        return specification.version.value if choice == "version" else None

    def _new_labels(self, settings: Mapping[str, ModelSettings]) -> Labels:
        available = {name: set(model.available) for name, model in self._models.items()}
        return checked_labels(
            list(settings.values()), available, self._labels, self.allow_labels_for_unavailable
        )

    def _with_settings(self, settings: ModelSettings) -> ModelVersions:
        model = self._models.get(settings.name)
        if model is None:
            return ModelVersions(settings, self._load)
        model.settings = settings
        return model
