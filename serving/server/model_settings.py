"""What the server is asked to serve: one model's name, folder, versions and labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path

from serving.server.version_policy import VersionPolicy


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """One model.

    Attributes:
      name: as requests call it.
      base_path: the folder of version folders.
      policy: which of them to serve.
      labels: label -> version.
    """

    name: str
    base_path: Path
    policy: VersionPolicy = VersionPolicy()
    labels: Mapping[str, int] = dataclasses.field(default_factory=dict)


def settings_of_base_paths(base_paths: Mapping[str, str | Path]) -> list[ModelSettings]:
    """The latest version of each model, without labels."""
    return [ModelSettings(name, Path(path)) for name, path in base_paths.items()]


def settings_by_name(models: Iterable[ModelSettings]) -> dict[str, ModelSettings]:
    """Model name -> settings.

    Raises:
      ValueError: a name is given twice.
    """
    by_name: dict[str, ModelSettings] = {}
    for model in models:
        if model.name in by_name:
            raise ValueError(f"Illegal to list model {model.name} multiple times in config list")
        by_name[model.name] = model
    return by_name


def check_base_paths(old: Iterable[ModelSettings], new: Mapping[str, ModelSettings]) -> None:
    """Refuses a model whose versions would be looked for elsewhere.

    Args:
      old: models that are served.
      new: model name -> settings that take their place.

    Raises:
      ValueError: a base path differs.
    """
    for model in old:
        asked_for = new.get(model.name, model).base_path
        if asked_for != model.base_path:
            raise ValueError(
                f"Illegal to change a model's base path. For model {model.name} it was "
                f"{model.base_path} and {asked_for} is requested; remove the model first, or use "
                "another name."
            )
