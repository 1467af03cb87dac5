"""Where everything lies under a work directory, and the settings a step was built with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.data import Table
from configs.effects import keys_of, value_at, without
from configs.knowledge import SourceAnswers
from configs.scenario import Scenario
from configs.section import Role, Section
from preprocessing.records.contract import CTR, DamagedRecords

DEAD_LETTERS_FILE = "dead_letters.jsonl"
ITEM_ATTRIBUTES_FILE = "item_attributes.parquet"
VECTOR_STATISTICS_FILE = "statistics.npz"

_SHARD = re.compile(r"part-(\d{5})-of-(\d{5})\.tfrecord\.gz")


def shard_name(index: int, count: int) -> str:
    """Name of a TFRecord file, e.g. `part-00000-of-00002.tfrecord.gz`."""
    return f"part-{index:05d}-of-{count:05d}.tfrecord.gz"


def examples_shard(kind: str, part: str, index: int, count: int) -> str:
    """Name of a TFRecord file of examples, relative to `examples/`."""
    return f"{kind}/{part}/{shard_name(index, count)}"


def fold_folder(fold: int) -> str:
    """Folder of vectors that were made without a user fold, relative to `knowledge/<source>/`."""
    return f"without_fold_{fold}"


def vocabulary_file(name: str) -> str:
    """Name of a vocabulary, relative to `examples/`."""
    return f"vocabularies/{name}.txt"


def schema_file(kind: str) -> str:
    """Name of the schema of a kind of examples, relative to `examples/`."""
    return "schema.pbtxt" if kind == CTR else f"schema_{kind}.pbtxt"


SHARD_PATTERN = "part-*.tfrecord.gz"


def shard_files(folder: Path) -> list[Path]:
    """All shards of a folder, in order.

    Raises:
      DamagedRecords: there are none, one is missing, or shards of two runs are mixed.
    """
    files = {}
    for path in sorted(folder.glob(SHARD_PATTERN)):
        match = _SHARD.fullmatch(path.name)
        if match:
            files[path] = (int(match[1]), int(match[2]))
    if not files:
        raise DamagedRecords(
            f"{folder}: no TFRecord files; run 'python -m preprocessing all' first"
        )
    counts = {count for _, count in files.values()}
    indices = [index for index, _ in files.values()]
    if len(counts) > 1 or indices != list(range(counts.pop())):
        raise DamagedRecords(
            f"{folder}: the set of shards is incomplete: {', '.join(path.name for path in files)}; "
            "run the preprocessing step again with --force"
        )
    return list(files)


@dataclass(frozen=True)
class StepDirectory:
    """What the folder of every step holds."""

    path: Path

    @property
    def manifest(self) -> Path:
        """Counts, hashes and checksums of the step."""
        return self.path / "manifest.json"

    @property
    def dead_letters(self) -> Path:
        """Rejected records, JSON lines with file, line, reason and detail."""
        return self.path / DEAD_LETTERS_FILE

    def read_manifest(self) -> dict[str, Any]:
        """The manifest; empty where the file holds something else than names and values.

        Raises:
          DamagedRecords: it is missing, or not JSON.
        """
        path = self.manifest
        try:
            contents = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise DamagedRecords(
                f"{path}: {error.strerror or error}; run 'python -m preprocessing all' first"
            ) from error
        except ValueError as error:
            raise DamagedRecords(f"{path}: not a manifest ({error}); {_REBUILD}") from error
        return contents if isinstance(contents, dict) else {}


@dataclass(frozen=True)
class KnowledgeDirectory(StepDirectory):
    """Knowledge vectors of one source."""

    def shard(self, index: int, count: int) -> Path:
        """Path of one TFRecord file."""
        return self.path / shard_name(index, count)

    @property
    def shards(self) -> list[Path]:
        """All TFRecord files, in order."""
        return shard_files(self.path)

    @property
    def is_cross_fitted(self) -> bool:
        """True when there are vectors without each user fold, beside those from all users."""
        return (self.path / fold_folder(0)).is_dir()

    def shards_without_fold(self, fold: int) -> list[Path]:
        """TFRecord files of the vectors that were made without a user fold, in order."""
        return shard_files(self.path / fold_folder(fold))


@dataclass(frozen=True)
class ExamplesDirectory(StepDirectory):
    """Examples and what belongs to them."""

    def part(self, part: str, kind: str = CTR) -> Path:
        """Folder of one part, train, validation or test, of one kind of examples."""
        return self.path / kind / part

    def shard(self, part: str, index: int, count: int, kind: str = CTR) -> Path:
        """Path of one TFRecord file."""
        return self.path / examples_shard(kind, part, index, count)

    def shards(self, part: str, kind: str = CTR) -> list[Path]:
        """All TFRecord files of a part, in order."""
        return shard_files(self.part(part, kind))

    @property
    def item_attributes(self) -> Path:
        """Attributes and rating statistics of every item, Parquet."""
        return self.path / ITEM_ATTRIBUTES_FILE

    @property
    def vocabularies(self) -> Path:
        """Folder of the vocabularies."""
        return self.path / "vocabularies"

    def vocabulary(self, name: str) -> Path:
        """Vocabulary of ids or of a categorical attribute, one value a line.

        Args:
          name: `item_id`, `user_id`, an item attribute, or `profile_<name>` of a user attribute.
        """
        return self.path / vocabulary_file(name)

    @property
    def schema(self) -> Path:
        """Schema of the CTR examples, TensorFlow Metadata in text format."""
        return self.schema_of(CTR)

    def schema_of(self, kind: str) -> Path:
        """Schema of a kind of examples."""
        return self.path / schema_file(kind)


class WorkDirectory:
    """All paths under `work_dir` of a scenario.

    Attributes:
      path: the work directory itself.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def examples(self) -> ExamplesDirectory:
        """Examples, item attributes, vocabularies and schema."""
        return ExamplesDirectory(self.path / "examples")

    def knowledge(self, source: str) -> KnowledgeDirectory:
        """Knowledge vectors of one source."""
        return KnowledgeDirectory(self.path / "knowledge" / source)

    def links(self, source: str) -> StepDirectory:
        """Names in the answers of one source, and the items that they mean."""
        return StepDirectory(self.path / "links" / source)


SETTINGS = "settings"
"""Key of a manifest."""

FORGOTTEN = "forgotten"
"""Key of a manifest: which users and items its step left out, `Forgotten.digest`."""

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


def settings_of_records(section: Section) -> dict[str, Any]:
    """A section without options on which no record depends, or that need not be told.

    The former are those of `Role.NO_RECORDS`, the latter those of `Role.LATER` at their default.
    """
    told = section.model_dump(mode="json", exclude_defaults=True)
    later = {key for key in keys_of(type(section), Role.LATER) if value_at(told, key) is None}
    left_out = later | {*keys_of(type(section), Role.NO_RECORDS)}
    return without(section.model_dump(mode="json"), left_out)


def examples_settings(scenario: Scenario) -> Settings:
    """What the examples depend on, beside their input files and how those are written."""
    data = settings_of_records(scenario.data)
    for table in ("interactions", "catalogue", "profiles"):
        if data[table] is not None:
            data[table] = {
                name: value for name, value in data[table].items() if name not in _FILE_FIELDS
            }
    return _dotted("data", data) | _dotted("split", scenario.split.model_dump(mode="json"))


def answers_settings(answers: SourceAnswers) -> dict[str, object]:
    """The section of a source, without `links` where there are none, and what only prompts say."""
    settings = settings_of_records(answers)
    return settings if answers.links is not None else without(settings, ["links"])


def knowledge_settings(scenario: Scenario, source: str) -> Settings:
    """What the knowledge vectors of a source depend on, beside the contents of its files."""
    answers = scenario.knowledge.answers[source]
    files = {
        "individual": _number_of_files(len(answers.individual)),
        "collective": _number_of_files(len(answers.collective)),
        "vectors": _number_of_files(len(answers.vectors)),
        "groups": _number_of_files(int(answers.groups is not None)),
    }
    settings = _dotted(f"knowledge.answers.{source}", answers_settings(answers) | files)
    if answers.is_encoded:
        settings |= _dotted("knowledge.encoder", settings_of_records(scenario.knowledge.encoder))
    return settings | groups_settings(scenario, source) | input_table_settings(scenario, source)


def groups_settings(scenario: Scenario, source: str) -> Settings:
    """What groups that are made here depend on, beside `grouping` itself; empty for others.

    Examples made with other settings may have samples that the groups were made from (leak rule),
    and so are told from those that have not.
    """
    if scenario.knowledge.answers[source].grouping is None:
        return {}
    settings = examples_settings(scenario)
    return {key: settings[key] for key in settings if key.startswith(_GROUPS_DEPEND_ON)}


def input_table_settings(scenario: Scenario, source: str) -> Settings:
    """What vectors depend on that are made from the catalogue or the log; empty for others."""
    answers = scenario.knowledge.answers[source]
    prefixes: tuple[str, ...] = ()
    if answers.links is not None:
        year = f"data.catalogue.attributes.{answers.links.year or 'year'}."
        prefixes = ("data.catalogue.item", "data.catalogue.title", year)
    elif answers.metadata:
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
    settings = directory.read_manifest().get(SETTINGS)
    if not isinstance(settings, dict):
        raise DamagedRecords(
            f"{directory.manifest}: does not say which settings the data was built with; {_REBUILD}"
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
