"""What the vectors of a source are made from: checked files, settings, catalogue texts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from configs.data import CatalogueTable, Table
from configs.knowledge import Encoder, SourceAnswers
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing import storage
from preprocessing.answers.record import Answer, Location, other_sources
from preprocessing.dead_letters import DeadLetterRuns, dead_letter
from preprocessing.grouping.groups_file import open_groups
from preprocessing.grouping.plan import groups_file
from preprocessing.inputs import input_checksums
from preprocessing.interactions.catalogue import (
    TITLE,
    open_catalogue,
    read_items,
)
from preprocessing.interactions.reading import FILE_COLUMN as FILE
from preprocessing.interactions.reading import LINE_COLUMN as LINE
from preprocessing.interactions.reading import open_interactions
from preprocessing.knowledge.accepting import (
    accepted_file,
    entity_shard,
    write_accepted,
)
from preprocessing.links.linking import LINKS_FILE, TITLES_FILE
from preprocessing.prompt_templates import attribute_texts
from preprocessing.records.contract import INDIVIDUAL
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import (
    WorkDirectory,
    answers_settings,
    groups_settings,
    input_table_settings,
    settings_of_records,
)
from preprocessing.tables.blocks import expand_paths
from preprocessing.tables.table_reader import TableReader
from preprocessing.vector_files import vector_files

_ENDS_A_SENTENCE = (".", "!", "?")


def described_by(catalogue: CatalogueTable, names: Sequence[str], key: str) -> CatalogueTable:
    """The catalogue with those attributes alone that the texts are made of.

    Args:
      catalogue: configuration of the catalogue.
      names: 'title' and names of attributes.
      key: configuration key of the names, for the error message.

    Raises:
      ConfigurationError: there is no attribute of a name.
    """
    available = [TITLE, *catalogue.attributes]
    for name in names:
        if name not in available:
            nearest = difflib.get_close_matches(name, available, n=1, cutoff=0.0)[0]
            raise ConfigurationError(
                f"{key}: there is no attribute '{name}' in data.catalogue.attributes. Did you mean "
                f"'{nearest}'? (there: {', '.join(available)})"
            )
    attributes = {name: catalogue.attributes[name] for name in names if name != TITLE}
    return catalogue.model_copy(update={"attributes": attributes})


def metadata_texts(table: pa.Table, names: Sequence[str]) -> Iterator[str]:
    """Text of each item, such as "Toy Story (1995). genres: Animation, Children".

    Args:
      table: rows of a parsed catalogue.
      names: 'title' and names of attributes, in the order of the text.

    Yields:
      The text on one line; empty when the item has neither title nor any of the attributes.
    """
    columns = {
        name: table[TITLE].to_pylist() if name == TITLE else attribute_texts(table[name])
        for name in names
    }
    for values in zip(*columns.values(), strict=True):
        one_line = (" ".join(value.split()) for value in values)
        yield _joined(
            value if name == TITLE else f"{name}: {value}"
            for name, value in zip(columns, one_line, strict=True)
            if value
        )


def accept_metadata(
    catalogue: CatalogueTable,
    reader: TableReader,
    names: Sequence[str],
    shards: int,
    folder: str,
    dead_letters_path: str,
) -> list[dict[str, Any]]:
    """Writes the texts as accepted answers, to be encoded as those of an LLM are.

    The catalogue is read in this process, and its texts are in memory.

    Args:
      catalogue: its attributes are those that the texts are made of.
      reader: reads the catalogue.
      names: 'title' and names of attributes, in the order of the text.
      shards: number of files of accepted answers.
      folder: where those files belong; a path or URL that all workers see.
      dead_letters_path: JSON lines file for rejected rows.

    Returns:
      Counts "read" and "accepted".
    """
    letters = DeadLetterRuns(storage.join(folder, "metadata.runs"))
    items, read = read_items(reader, catalogue, letters)
    by_shard: list[list[Answer]] = [[] for _ in range(shards)]
    places = zip(items.table[FILE].to_pylist(), items.table[LINE].to_pylist(), strict=True)
    texts = metadata_texts(items.table, names)
    for item, text, (file, line) in zip(items.ids, texts, places, strict=True):
        if not text:
            detail = f"the item has nothing under {', '.join(names)}"
            letters.add([dead_letter(reader.names[file], line, "no_metadata", detail)])
            continue
        location = Location(reader.names[file], line, file)
        answer = Answer("item", item, INDIVIDUAL, text, location=location)
        by_shard[entity_shard(item, shards)].append(answer)
    letters.write(dead_letters_path)
    for shard, answers in enumerate(by_shard):
        write_accepted(
            accepted_file(folder, shard), sorted(answers, key=lambda answer: answer.entity_id)
        )
    return [{"read": read, "accepted": sum(map(len, by_shard))}]


def _joined(parts: Iterable[str]) -> str:
    text = ""
    for part in parts:
        space = " " if text.endswith(_ENDS_A_SENTENCE) else ". "
        text += f"{space}{part}" if text else part
    return text


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
    described: CatalogueTable | None = None
    interactions: TableReader | None = None


@dataclass(frozen=True)
class SourcePlan:
    """A source whose configuration was checked.

    Attributes:
      source: its name.
      settings: what its vectors depend on beside the input files.
      inputs: input file -> SHA-256.
      tables: what is read beside answers and vector files.
    """

    source: str
    settings: Mapping[str, object]
    inputs: Mapping[str, str]
    tables: SourceTables


def plan_source(scenario: Scenario, source: str) -> SourcePlan:
    """Checks a source's configuration.

    Raises:
      ConfigurationError: the source is unknown, or a file, a column or an attribute does not exist.
      CommandError: an input file is cut off.
    """
    if source not in scenario.knowledge.answers:
        names = ", ".join(sorted(scenario.knowledge.answers))
        raise ConfigurationError(
            f"there is no source '{source}' under knowledge.answers (there: {names})"
        )
    answers = scenario.knowledge.answers[source]
    if answers.links is not None and answers.entity == "user":
        raise ConfigurationError(
            f"knowledge.answers.{source}: what users would love is linked by "
            "'python -m preprocessing link', and makes no knowledge vectors"
        )
    described = _described_catalogue(scenario, source)
    from_log = answers.random is not None or answers.collaborative is not None
    encoder = scenario.knowledge.encoder if answers.is_encoded else None
    files = _answer_files(answers, f"knowledge.answers.{source}")
    if answers.links is not None:
        links = WorkDirectory(scenario.work_dir).links(source).path
        files |= {
            str(links / name): f"knowledge.answers.{source}.links"
            for name in (LINKS_FILE, TITLES_FILE)
        }
    groups_path = groups_file(scenario, source)
    if groups_path is not None:
        files[groups_path] = f"knowledge.answers.{source}.groups"
    if encoder is not None:
        files |= {path: "knowledge.encoder.model" for path in _model_files(encoder)}
    if described is not None:
        files |= _table_files(described, "data.catalogue.path")
    if from_log:
        files |= _table_files(scenario.data.interactions, "data.interactions.path")
    inputs = input_checksums(files)
    forgotten = Forgotten.of(scenario.work_dir)
    tables = SourceTables(
        groups=None
        if groups_path is None
        else open_groups(groups_path, answers.entity, f"knowledge.answers.{source}.groups").without(
            forgotten
        ),
        catalogue=None if described is None else open_catalogue(described).without(forgotten),
        described=described,
        interactions=open_interactions(scenario.data, scenario.split).without(forgotten)
        if from_log
        else None,
    )
    has_records = bool(answers.individual or answers.collective) and answers.links is None
    others = other_sources(scenario.knowledge.answers, source) if has_records else ()
    settings = {
        "source": source,
        "answers": answers_settings(answers),
        "other_sources": sorted(others),
        "encoder": None if encoder is None else settings_of_records(encoder),
        "groups": groups_settings(scenario, source),
        "interactions": scenario.data.interactions if from_log else None,
        "catalogue": described,
        "tables": input_table_settings(scenario, source),
        "shards": scenario.knowledge.shards,
    }
    return SourcePlan(source, settings, inputs, tables)


def _described_catalogue(scenario: Scenario, source: str) -> CatalogueTable | None:
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
