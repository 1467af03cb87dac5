"""What the vectors of a source are made from: checked files and settings, readers of tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from configs.knowledge import Encoder, SourceAnswers
from configs.loading import ConfigurationError, config_hash
from configs.raw_data import Catalogue, Interactions, Table
from configs.scenario import Scenario
from configs.section import Section
from preprocessing.grouping.location import groups_file
from preprocessing.hashing import room_version
from preprocessing.inputs import fingerprint_inputs
from preprocessing.interactions.catalogue import open_catalogue
from preprocessing.interactions.reading import open_interactions
from preprocessing.knowledge.asked_sources import other_sources
from preprocessing.knowledge.groups import open_groups
from preprocessing.knowledge.metadata_texts import described_by
from preprocessing.knowledge.vector_files.registry import vector_files
from preprocessing.names import require_plain_name
from preprocessing.records.settings import WITHOUT_EFFECT, groups_settings, tables_settings
from preprocessing.steps import StepIdentity
from preprocessing.tables.files import expand_paths
from preprocessing.tables.table_reader import TableReader


class _RelevantSections(Section):
    """The parts of a scenario that a source's knowledge vectors depend on."""

    source: str
    answers: SourceAnswers
    other_sources: list[str]
    encoder: dict[str, object] | None
    groups: dict[str, object]
    interactions: Interactions | None
    catalogue: Catalogue | None
    tables: dict[str, object]
    shards: int


@dataclass(frozen=True)
class SourceTables:
    """Readers of the tables that a source needs; None for the others.

    Attributes:
      groups: of the groups file.
      catalogue: of the catalogue.
      described: the catalogue's configuration, with the attributes that are read.
      interactions: of the log.
    """

    groups: TableReader | None = None
    catalogue: TableReader | None = None
    described: Catalogue | None = None
    interactions: TableReader | None = None


@dataclass(frozen=True)
class SourcePlan:
    """A source whose configuration was checked.

    Attributes:
      source: its name.
      identity: what its vectors depend on.
      tables: what is read beside answers and vector files.
    """

    source: str
    identity: StepIdentity
    tables: SourceTables


def plan_source(scenario: Scenario, source: str) -> SourcePlan:
    """Checks a source's configuration.

    Raises:
      ConfigurationError: the source is unknown, or a file, a column or an attribute does not exist.
      CommandError: an input file is cut off.
    """
    if source not in scenario.knowledge.answers:
        known = ", ".join(sorted(scenario.knowledge.answers))
        raise ConfigurationError(
            f"there is no source '{source}' under knowledge.answers (there: {known})"
        )
    require_plain_name("knowledge.answers", source)
    answers = scenario.knowledge.answers[source]
    described = _described_catalogue(scenario, source)
    from_log = answers.random is not None or answers.collaborative is not None
    encoder = scenario.knowledge.encoder if not answers.vectors and not from_log else None
    files = _answer_files(answers, f"knowledge.answers.{source}")
    groups_path = groups_file(scenario, source)
    if groups_path is not None:
        files[groups_path] = f"knowledge.answers.{source}.groups"
    if encoder is not None:
        files |= {path: "knowledge.encoder.model" for path in _model_files(encoder)}
    if described is not None:
        files |= _table_files(described, "data.catalogue.path")
    if from_log:
        files |= _table_files(scenario.data.interactions, "data.interactions.path")
    inputs = fingerprint_inputs(files)
    tables = SourceTables(
        groups=None
        if groups_path is None
        else open_groups(groups_path, answers.entity, f"knowledge.answers.{source}.groups"),
        catalogue=None if described is None else open_catalogue(described),
        described=described,
        interactions=open_interactions(scenario.data, scenario.split) if from_log else None,
    )
    has_records = bool(answers.individual or answers.collective)
    others = other_sources(scenario.knowledge.answers, source) if has_records else ()
    relevant = _RelevantSections(
        source=source,
        answers=answers,
        other_sources=sorted(others),
        encoder=None
        if encoder is None
        else encoder.model_dump(mode="json", exclude=WITHOUT_EFFECT),
        groups=groups_settings(scenario, source),
        interactions=scenario.data.interactions if from_log else None,
        catalogue=described,
        tables=tables_settings(scenario, source),
        shards=scenario.knowledge.shards,
    )
    identity = StepIdentity(f"encode {source}", config_hash(relevant), room_version(), inputs)
    return SourcePlan(source, identity, tables)


def _described_catalogue(scenario: Scenario, source: str) -> Catalogue | None:
    """The catalogue with the attributes that are read; None for a source that reads none."""
    answers, catalogue = scenario.knowledge.answers[source], scenario.data.catalogue
    if answers.metadata:
        return described_by(catalogue, answers.metadata, f"knowledge.answers.{source}.metadata")
    if answers.random is not None and answers.entity == "item":
        return catalogue.model_copy(update={"attributes": {}})
    return None


def _answer_files(answers: SourceAnswers, key: str) -> dict[str, str]:
    """File of answers or vectors -> the key that names it."""
    vector_files(answers.vectors, f"{key}.vectors")
    return {
        path: f"{key}.{name}"
        for name in ("individual", "collective", "vectors")
        for path in getattr(answers, name)
    }


def _table_files(table: Table, key: str) -> dict[str, str]:
    return dict.fromkeys(expand_paths(table.paths, key), key)


def _model_files(encoder: Encoder) -> list[str]:
    """Files of a model in a local folder: other contents make other vectors."""
    folder = Path(encoder.model or "")
    if encoder.kind != "sentence-transformers" or encoder.model is None or not folder.is_dir():
        return []
    return sorted(str(path) for path in folder.rglob("*") if path.is_file())
