"""What two trainings must have in common for one to go on from the other's checkpoint."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from configs.scenario import Scenario
from trainer.run_folder import training_code_version
from trainer.run_settings import training_settings
from trainer.tables import fingerprint

Files = Mapping[str, Sequence[str | Path]]
"""Part -> files that take the place of the work directory's."""


def training_identity(
    scenario: Scenario, files: Files, max_steps: int | None, validation_limit: int | None
) -> dict[str, object]:
    """What decides which weights a training ends with.

    Args:
      scenario: settings, and the data they name.
      files: in the place of the work directory's.
      max_steps: of all epochs, at most.
      validation_limit: validation examples, at most.
    """
    return {
        "settings": training_settings(scenario),
        "fingerprint": fingerprint(scenario),
        "code_version": training_code_version(),
        "files": {
            part: [[str(path), os.path.getsize(path)] for path in paths]
            for part, paths in files.items()
        },
        "limits": [max_steps, validation_limit],
    }


def differences(first: str, second: str) -> list[str]:
    """Dotted names of what differs between two identities, in order.

    Args:
      first: JSON object of a training, whose settings are under "settings".
      second: of another training.

    Returns:
      Names, those of settings as they stand in a configuration; none if a text is no JSON object.
    """
    try:
        one, other = (dict(_leaves(json.loads(text))) for text in (first, second))
    except ValueError:
        return []
    return sorted(
        name.removeprefix("settings.")
        for name in one.keys() | other.keys()
        if one.get(name) != other.get(name)
    )


def _leaves(tree: object, name: str = "") -> Iterator[tuple[str, object]]:
    if not isinstance(tree, dict):
        yield name, tree
        return
    for key, value in tree.items():
        yield from _leaves(value, f"{name}.{key}" if name else key)
