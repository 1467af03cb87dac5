"""The models a server holds, and how requests find a version of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

import grpc

from configs.command_line import CommandError
from serving.protocol.messages import model_pb2
from serving.server.errors import RequestError, invalid, not_found
from serving.server.model_settings import ModelSettings, check_base_paths, settings_by_name
from serving.server.model_versions import (
    Labels,
    Load,
    ModelVersions,
    VersionStatus,
    checked_labels,
    failure_text,
    load_servable,
)
from serving.server.servable import Servable


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
                raise CommandError(error.message) from error
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
