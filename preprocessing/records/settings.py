"""The settings that a step's result was built with, as its manifest keeps them.

Keys are dotted as in an override, e.g. `split.by`. Input files count by their number only: a work
directory may be moved, and a run may be evaluated where the input files lie elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from configs.raw_data import Table
from configs.scenario import Scenario
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import StepDirectory

SETTINGS = "settings"
"""Key of a manifest."""

WITHOUT_EFFECT = {"cache", "api_key_variable"}
"""Keys of the section `knowledge.encoder` that say nothing about the vectors."""

WITHOUT_EFFECT_ON_EXAMPLES = {"shard_megabytes", "warn_coverage_below"}
"""Keys of the section `data` that say nothing about the records."""

Settings = dict[str, object]

_FILE_FIELDS = frozenset(Table.model_fields)
_GROUPS_DEPEND_ON = (
    "data.interactions.",
    "data.catalogue.",
    "data.positive_rating",
    "data.filter.",
    "data.labels.",
    "split.knowledge_history_cap",
)
_LOG_DEPENDS_ON = ("data.interactions.", "data.filter.", "data.labels.")
_REBUILD = "run 'python -m preprocessing all' again"


def examples_settings(scenario: Scenario) -> Settings:
    """What the examples depend on, beside their input files and how those are written."""
    data = scenario.data.model_dump(mode="json", exclude=WITHOUT_EFFECT_ON_EXAMPLES)
    for table in ("interactions", "catalogue", "profiles"):
        if data[table] is not None:
            data[table] = {
                name: value for name, value in data[table].items() if name not in _FILE_FIELDS
            }
    return _dotted("data", data) | _dotted("split", scenario.split.model_dump(mode="json"))


def knowledge_settings(scenario: Scenario, source: str) -> Settings:
    """What the knowledge vectors of a source depend on, beside the contents of its files."""
    answers = scenario.knowledge.answers[source]
    files = {
        "individual": _number_of_files(len(answers.individual)),
        "collective": _number_of_files(len(answers.collective)),
        "vectors": _number_of_files(len(answers.vectors)),
        "groups": _number_of_files(int(answers.groups is not None)),
    }
    settings = _dotted(f"knowledge.answers.{source}", answers.model_dump(mode="json") | files)
    if answers.individual or answers.collective or answers.metadata:
        encoder = scenario.knowledge.encoder.model_dump(mode="json", exclude=WITHOUT_EFFECT)
        settings |= _dotted("knowledge.encoder", encoder)
    return settings | groups_settings(scenario, source) | tables_settings(scenario, source)


def groups_settings(scenario: Scenario, source: str) -> Settings:
    """What groups that are made here depend on, beside `grouping` itself; nothing for others.

    Examples made with other settings may have samples that the groups were made from (leak rule),
    and so are told from those that have not.
    """
    if scenario.knowledge.answers[source].grouping is None:
        return {}
    settings = examples_settings(scenario)
    return {key: settings[key] for key in settings if key.startswith(_GROUPS_DEPEND_ON)}


def tables_settings(scenario: Scenario, source: str) -> Settings:
    """What vectors depend on that are made from the catalogue or the log; nothing for others."""
    answers = scenario.knowledge.answers[source]
    prefixes: tuple[str, ...] = ()
    if answers.metadata:
        named = [f"data.catalogue.attributes.{name}." for name in answers.metadata]
        prefixes = ("data.catalogue.item", "data.catalogue.title", *named)
    elif answers.collaborative is not None:
        prefixes = (*_LOG_DEPENDS_ON, "split.")
    elif answers.random is not None:
        items = ("data.catalogue.item",) if answers.entity == "item" else ()
        prefixes = (*_LOG_DEPENDS_ON, *items)
    settings = examples_settings(scenario)
    return {key: settings[key] for key in settings if key.startswith(prefixes)}


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
    settings: Settings = {}
    for name, value in section.items():
        key = f"{prefix}.{name}"
        settings |= _dotted(key, value) if isinstance(value, Mapping) else {key: value}
    return settings


def _number_of_files(number: int) -> str:
    return {0: "no file", 1: "1 file"}.get(number, f"{number} files")
