"""The settings that a step's result was built with, as its manifest keeps them.

Keys are dotted as in an override, e.g. `split.by`. Input files count by their number only: a work
directory may be moved, and a run may be evaluated where the input files lie elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from configs.scenario import Scenario
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import StepDirectory

SETTINGS = "settings"
"""Key of a manifest."""

Settings = dict[str, object]

_REBUILD = "run 'python -m preprocessing all' again"


def examples_settings(scenario: Scenario) -> Settings:
    """What the examples depend on, beside their input files and columns."""
    data = scenario.data.model_dump(mode="json", include={"positive_rating", "history_length"})
    return _dotted("data", data) | _dotted("split", scenario.split.model_dump(mode="json"))


def knowledge_settings(scenario: Scenario, source: str) -> Settings:
    """What the knowledge vectors of a source depend on, beside the contents of its files."""
    answers = scenario.knowledge.answers[source]
    files = {
        "individual": _number_of_files(len(answers.individual)),
        "collective": _number_of_files(len(answers.collective)),
        "groups": _number_of_files(int(answers.groups is not None)),
    }
    encoder = scenario.knowledge.encoder.model_dump(mode="json")
    return _dotted("knowledge.encoder", encoder) | _dotted(
        f"knowledge.answers.{source}", answers.model_dump(mode="json") | files
    )


def read_settings(directory: StepDirectory) -> Settings:
    """The settings in a step's manifest.

    Raises:
      DamagedRecords: there is no manifest, or none with settings.
    """
    path = directory.manifest
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DamagedRecords(
            f"{path}: {error.strerror or error}; run 'python -m preprocessing all' first"
        ) from error
    except ValueError as error:
        raise DamagedRecords(f"{path}: not a manifest ({error}); {_REBUILD}") from error
    settings = manifest.get(SETTINGS) if isinstance(manifest, dict) else None
    if not isinstance(settings, dict):
        raise DamagedRecords(
            f"{path}: does not say which settings the data was built with; {_REBUILD}"
        )
    return settings


def _dotted(prefix: str, section: Mapping[str, object]) -> Settings:
    return {f"{prefix}.{name}": value for name, value in section.items()}


def _number_of_files(number: int) -> str:
    return {0: "no file", 1: "1 file"}.get(number, f"{number} files")
