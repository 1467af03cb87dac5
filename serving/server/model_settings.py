"""What the server is asked to serve: names, folders, versions and labels."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

_TEXT = re.compile(
    r"latest(?::(?P<count>[1-9][0-9]{0,8}))?|all|specific:(?P<versions>[0-9]{1,18}(?:,[0-9]{1,18})*)"
)
_FORMS = "latest, latest:N (N from 1), all, or specific:V,V,..."


@dataclasses.dataclass(frozen=True)
class VersionPolicy:
    """The newest versions, all of them, or chosen ones.

    Attributes:
      latest: how many of the highest versions; None for all.
      specific: exactly these versions; empty when `latest` decides.
    """

    latest: int | None = 1
    specific: frozenset[int] = frozenset()

    def wanted(self, found: Collection[int]) -> list[int]:
        """The versions to serve out of those found, highest first."""
        ordered = sorted(found, reverse=True)
        if self.specific:
            return [version for version in ordered if version in self.specific]
        return ordered if self.latest is None else ordered[: self.latest]

    @classmethod
    def parse(cls, text: str) -> VersionPolicy:
        """Reads `latest`, `latest:2`, `all` or `specific:1,3`.

        Raises:
          ValueError: another form; the message lists the forms.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"expected {_FORMS}. Received: {text!r}")
        if text == "all":
            return cls(latest=None)
        if match["versions"]:
            return cls(specific=frozenset(map(int, match["versions"].split(","))))
        return cls(latest=int(match["count"] or 1))


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
