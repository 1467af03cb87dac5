"""Builds the folder of one source, from its answers or from vectors made elsewhere."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.command_line import CommandError, say
from configs.knowledge import Encoder, SourceAnswers
from configs.scenario import Scenario
from preprocessing import storage
from preprocessing.answers.reading import SourceReader, answer_files
from preprocessing.answers.texts import answer_texts
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline, worker_folder
from preprocessing.beam_sinks import read_statistics, total
from preprocessing.dead_letters import (
    DeadLetter,
    DeadLetterRuns,
    count_by_reason,
    merge_runs,
    read_dead_letters,
)
from preprocessing.encoders.text_encoder import encoder_class
from preprocessing.knowledge.accepting import (
    accepted_file,
    build_accepting_pipeline,
    read_accepted,
)
from preprocessing.knowledge.control_vectors import (
    MadeVectors,
    describe_made_vectors,
    make_vectors,
    write_shards,
)
from preprocessing.knowledge.encoding import EncodingPlan, build_encoding_pipeline
from preprocessing.knowledge.entity_vectors import (
    WritingPlan,
    describe_vectors,
    write_vector_statistics,
)
from preprocessing.knowledge.log_coverage import COVERAGE, LogCoverage
from preprocessing.knowledge.source_plan import SourceTables, accept_metadata
from preprocessing.knowledge.vector_cache import describe_encoder, identity_hash
from preprocessing.knowledge.vector_import import ImportPlan, build_import_pipeline
from preprocessing.knowledge.vectors import round_vectors
from preprocessing.links.known_links import KnownLinks
from preprocessing.links.linking import LINKS_FILE, TITLES_FILE, read_catalogue, read_links
from preprocessing.links.spectral import graph_of_table, spectral_vectors
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import (
    DEAD_LETTERS_FILE,
    SETTINGS,
    VECTOR_STATISTICS_FILE,
    WorkDirectory,
    knowledge_settings,
)
from preprocessing.tables.table_reader import TableReader
from preprocessing.vector_files import first_width, parts_of, vector_files

_DECIMALS = 6


def make_link_vectors(scenario: Scenario, source: str, folder: str) -> MadeVectors:
    """Writes the vectors of the items that links reach, and all that a refresh extends them by.

    Args:
      scenario: the scenario; the links of the source are finished.
      source: a source with `links`.
      folder: where the files belong, a path or URL.

    Raises:
      CommandError: no item is linked to another.
    """
    settings = scenario.knowledge.answers[source].links
    assert settings is not None
    linked = WorkDirectory(scenario.work_dir).links(source).path
    table = read_links(linked / LINKS_FILE)
    graph = graph_of_table(table)
    try:
        vectors = spectral_vectors(
            graph, settings.dimension, damping=settings.damping, smoothness=settings.smoothness
        )
    except CommandError as error:
        raise CommandError(f"knowledge.answers.{source}: {error}") from error
    KnownLinks(settings, read_catalogue(linked / TITLES_FILE), table, vectors).write(folder)
    items = len(vectors.items)
    rounded, good = round_vectors(vectors.vectors[:items] * np.float32(vectors.scale))
    rows = np.flatnonzero(good)
    ids = vectors.items.take(rows).to_pylist()
    shards, statistics = write_shards(
        folder, scenario.knowledge.shards, ids, lambda chosen: rounded[rows[chosen]]
    )
    DeadLetterRuns(storage.join(folder, "no.runs")).write(storage.join(folder, DEAD_LETTERS_FILE))
    counts = {
        "items": items,
        "outside_nodes": len(vectors.outside),
        "linked_pairs": graph.weights.nnz // 2,
        "items_without_links": int(np.count_nonzero(graph.degrees[:items] == 0)),
        "smallest_eigenvalue": round(float(vectors.eigenvalues[-1]), _DECIMALS),
        "largest_residual": round(float(vectors.residuals.max()), _DECIMALS),
    }
    return MadeVectors(
        shards,
        write_vector_statistics(storage.join(folder, VECTOR_STATISTICS_FILE), statistics),
        items - len(ids),
        {"links": counts},
    )


_FIXES = {
    "source_mismatch": "Call the source under knowledge.answers what the records call it, or "
    "correct the records",
    "no_metadata": "Name other attributes under 'metadata', or complete the catalogue",
    "extraction_mismatch": "Name files of answers about single entities under 'individual', files "
    "of answers about groups under 'collective'",
}


def no_usable_answer(
    source: str, files: Sequence[str], dead_letters: Iterable[DeadLetter], elsewhere: int = 0
) -> CommandError:
    """The error that names the commonest reason, and where it occurs first.

    Args:
      source: name of the source.
      files: its answer files.
      dead_letters: its rejected answers; none when the files hold no answers.
      elsewhere: answers of other sources in the files.
    """
    key = f"knowledge.answers.{source}"
    counts: Counter[str] = Counter()
    firsts: dict[str, DeadLetter] = {}
    for letter in dead_letters:
        counts[letter["reason"]] += 1
        firsts.setdefault(letter["reason"], letter)
    if not counts and elsewhere:
        return CommandError(
            f"{key}: all {elsewhere:,} answers in {', '.join(files)} are of other sources of "
            "knowledge.answers. Name the files that hold answers of this one"
        )
    if not counts:
        return CommandError(f"{key}: there are no answers in {', '.join(files)}")
    reasons = counts.most_common()
    commonest = reasons[0][0]
    first = firsts[commonest]
    counted = ", ".join(f"{reason} {count:,}" for reason, count in reasons)
    fix = _FIXES.get(commonest, "Correct the answers, or name other files")
    return CommandError(
        f"{key}: every answer was rejected ({counted}). {first['file']}, line {first['line']}: "
        f"{first['detail']}. {fix}"
    )


_SCRATCH = "scratch"
_CACHE = "encoded_texts"
_EFFORT = ("texts_encoded", "texts_from_cache", "tokens")


@dataclass
class SourceBuild:
    """One run for one source.

    Attributes:
      scenario: the scenario.
      source: name of the source.
      tables: reads the tables that the source needs.
      coverage: compares its ids with those of the log.
      beam: runner, options and staging folder.
      effort: what the run had to do, by count; filled in by `build`.
    """

    scenario: Scenario
    source: str
    tables: SourceTables
    coverage: LogCoverage
    beam: BeamOptions
    effort: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_EFFORT, 0))

    def build(self, folder: Path) -> Mapping[str, object]:
        """Writes records and dead letters into the step's folder; returns the manifest's part.

        Raises:
          CommandError: no record can be used, or the encoder cannot work.
        """
        # Everything that workers read or write lies below this one folder, or in the cache.
        with worker_folder(folder, self.beam.staging) as shared:
            described = self._build(shared, storage.join(shared, _SCRATCH))
            storage.delete_folder(storage.join(shared, _SCRATCH))
        return {
            SETTINGS: knowledge_settings(self.scenario, self.source),
            **described,
            COVERAGE: self.coverage.measured(self.source, folder),
        }

    def _build(self, shared: str, scratch: str) -> Mapping[str, object]:
        answers = self._answers
        if answers.random is not None or answers.collaborative is not None:
            return describe_made_vectors(
                make_vectors(self.scenario, self.source, self.tables, self.beam, shared, scratch)
            )
        if answers.links is not None:
            return describe_made_vectors(make_link_vectors(self.scenario, self.source, shared))
        encoder, statistics = (
            self._import_vectors(shared) if answers.vectors else self._encode(shared)
        )
        if not total(statistics, "records"):
            raise CommandError(
                f"knowledge.answers.{self.source}: no entity has knowledge: its answers are about "
                "groups to which nobody belongs; compare the group ids of the answers with those "
                "of the groups file"
            )
        self.effort.update({name: total(statistics, name) for name in _EFFORT})
        groups = self.tables.groups.names[0] if self.tables.groups else None
        rejected = count_by_reason(storage.join(shared, DEAD_LETTERS_FILE))
        return describe_vectors(statistics, rejected, groups, encoder)

    @property
    def _answers(self) -> SourceAnswers:
        return self.scenario.knowledge.answers[self.source]

    @property
    def _forgotten(self) -> Forgotten:
        return Forgotten.of(self.scenario.work_dir)

    def _import_vectors(self, shared: str) -> tuple[None, list[dict[str, Any]]]:
        key = f"knowledge.answers.{self.source}.vectors"
        files = vector_files(self._answers.vectors, key)
        parts = tuple(part for file in files for part in parts_of(file))
        writing = self._writing(shared)
        plan = ImportPlan(parts, first_width(parts, key), self._forgotten, writing)
        run_pipeline(lambda pipeline: build_import_pipeline(pipeline, plan), self.beam)
        statistics = read_statistics(writing.statistics)
        self._write_dead_letters(shared, [writing.dead_letters], total(statistics, "records"))
        return None, statistics

    def _encode(self, shared: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        knowledge = self.scenario.knowledge
        chosen = encoder_class(knowledge.encoder.kind)
        identity = chosen.identity(knowledge.encoder)  # before any work: the encoder may be missing
        scratch = storage.join(shared, _SCRATCH)
        letters = storage.join(scratch, "accepting.jsonl")
        statistics = self._accept(scratch, letters)
        accepted = total(statistics, "accepted")
        if not accepted:
            raise self._no_usable_answer([letters], total(statistics, "other_sources"))
        prepared = chosen.prepare(knowledge.encoder, self._accepted_texts(scratch), shared)
        if prepared.get("components", 0) < prepared.get("dimension", 0):
            say(
                f"encode {self.source}: {accepted} answers hold {prepared['components']} "
                f"components; the vectors are filled up with zeros to width {prepared['dimension']}"
            )
        writing = self._writing(shared)
        plan = EncodingPlan(
            encoder=_as_workers_see_it(knowledge.encoder),
            prepared=shared,
            accepted=scratch,
            cache=None if identity is None else self._cache(identity),
            answers=accepted,
            writing=writing,
        )
        run_pipeline(lambda pipeline: build_encoding_pipeline(pipeline, plan), self.beam)
        if plan.cache is not None:
            storage.delete_unfinished(plan.cache)
        statistics += read_statistics(writing.statistics)
        self._write_dead_letters(
            shared, [letters, writing.dead_letters], total(statistics, "usable")
        )
        return {**(identity or {}), **prepared}, statistics

    def _accept(self, scratch: str, letters: str) -> list[dict[str, Any]]:
        """Writes accepted answers, each entity once, and dead letters; returns counts."""
        knowledge, tables = self.scenario.knowledge, self.tables
        if tables.catalogue is not None and tables.described is not None:
            names = self._answers.metadata
            return accept_metadata(
                tables.described, tables.catalogue, names, knowledge.shards, scratch, letters
            )
        texts = answer_texts(self.source, self._answers, knowledge.encoder)
        reader = SourceReader.of(knowledge.answers, self.source, self._forgotten)
        files = answer_files(self._answers)
        counts = storage.join(scratch, "accepting.json")
        run_pipeline(
            lambda pipeline: build_accepting_pipeline(
                pipeline,
                reader,
                texts,
                files,
                knowledge.shards,
                scratch,
                letters,
                counts,
            ),
            self.beam,
        )
        return read_statistics(counts)

    def _accepted_texts(self, scratch: str) -> Iterator[str]:
        for shard in range(self.scenario.knowledge.shards):
            for answer in read_accepted(accepted_file(scratch, shard)):
                yield answer.text

    def _writing(self, shared: str) -> WritingPlan:
        scratch = storage.join(shared, _SCRATCH)
        return WritingPlan(
            entity=self._answers.entity,
            groups=self._groups_for_workers(scratch),
            shards=self.scenario.knowledge.shards,
            folder=shared,
            dead_letters=storage.join(scratch, "writing.jsonl"),
            statistics=storage.join(scratch, "writing.json"),
        )

    def _groups_for_workers(self, scratch: str) -> TableReader | None:
        """Groups made here lie in the work directory, which workers with a staging do not see."""
        groups = self.tables.groups
        if groups is None or self._answers.grouping is None or self.beam.staging is None:
            return groups
        (file,) = groups.files
        copy = storage.join(scratch, Path(file.path).name)
        with storage.open_bytes(file.path) as source, storage.create_bytes(copy) as target:
            shutil.copyfileobj(source, target)
        return replace(groups, files=(replace(file, path=copy),))

    def _cache(self, identity: Mapping[str, Any]) -> str:
        """Folder of the vectors of this encoder."""
        cache_folder = self.scenario.knowledge.encoder.cache
        if cache_folder is None:
            cache_folder = storage.join(str(self.beam.staging or self.scenario.work_dir), _CACHE)
        folder = storage.join(storage.absolute(cache_folder), identity_hash(identity))
        storage.delete_unfinished(folder)
        describe_encoder(folder, identity)
        return folder

    def _write_dead_letters(self, shared: str, files: Sequence[str], usable: int) -> None:
        """Joins the dead letters of all pipelines.

        Raises:
          CommandError: there is no usable record.
        """
        if not usable:
            raise self._no_usable_answer(files)
        merge_runs(files, storage.join(shared, DEAD_LETTERS_FILE), storage.join(shared, _SCRATCH))

    def _no_usable_answer(
        self, dead_letter_files: Sequence[str], elsewhere: int = 0
    ) -> CommandError:
        files = [*self._answers.individual, *self._answers.collective, *self._answers.vectors]
        if self.tables.catalogue is not None:
            files += self.tables.catalogue.names
        letters = (letter for path in dead_letter_files for letter in read_dead_letters(path))
        return no_usable_answer(
            self.source,
            files,
            (letter for letter in letters if letter["file"] in files),
            elsewhere,
        )


def _as_workers_see_it(encoder: Encoder) -> Encoder:
    """The configuration with the absolute path of a model folder."""
    if encoder.model is None or not Path(encoder.model).is_dir():
        return encoder
    return encoder.model_copy(update={"model": storage.absolute(encoder.model)})
