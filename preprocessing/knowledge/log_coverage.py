"""How many items or users of the log have a vector of a source, and whether the ids meet at all."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from configs.command_line import say
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.inputs import input_checksums
from preprocessing.interactions.reading import rows_by_id
from preprocessing.records import contract
from preprocessing.records.coverage import (
    IdCoverage,
    knowledge_refusal,
    tell_knowledge_coverage,
)
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import shard_files
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import decode_example
from preprocessing.steps import settings_hash
from preprocessing.tables.blocks import expand_paths

COVERAGE = "coverage"
"""Key of a source's manifest."""

_KEY = "data.interactions.path"
_LOG = "log"


class LogCoverage:
    """Compares the ids of knowledge vectors with those of the log.

    The log is read at most once, in this process and only when a source needs it: its distinct ids
    are in memory. Rows count as they stand in the files, before `data.filter`.

    Args:
      scenario: names the log.
    """

    def __init__(self, scenario: Scenario):
        self._scenario = scenario

    def measured(self, source: str, folder: Path) -> dict[str, Any] | None:
        """What the manifest of a source says: counts, shares, and the log they are about.

        Args:
          source: the source.
          folder: its records.

        Returns:
          None when there is no log here to compare with, when the source is made from it, or when
          the scenario does not describe the source any more.
        """
        answers = self._scenario.knowledge.answers.get(source)
        if answers is None:
            return None
        made_from_log = answers.random is not None or answers.collaborative is not None
        if made_from_log or self._log is None:
            return None
        return {**self._measure(source, folder).as_dictionary(), _LOG: self._log}

    def tell(self, source: str, folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any] | None:
        """Says how much of the log a finished source covers.

        Args:
          source: the source.
          folder: its records.
          manifest: its manifest, which holds the numbers if the log is still the same.

        Returns:
          Counts and shares; None as in `measured`.
        """
        counted = manifest.get(COVERAGE)
        if counted is None or counted[_LOG] != self._log:
            counted = self.measured(source, folder)
        if counted is None:
            return None
        counted = {key: value for key, value in counted.items() if key != _LOG}
        tell_knowledge_coverage(self._scenario, source, counted, "encode")
        return counted

    def refusal(self, source: str, folder: Path) -> str:
        """The message for a source of which no vector belongs to an id of the log."""
        return knowledge_refusal(self._scenario, source, self._measure(source, folder))

    def _measure(self, source: str, folder: Path) -> IdCoverage:
        entity = self._scenario.knowledge.answers[source].entity
        coverage = {
            decode_example(record)[contract.ENTITY_ID][0].decode()
            for path in shard_files(folder)
            for record in read_records(path)
        }
        return IdCoverage.measure(entity, self._counts[entity], coverage)

    @cached_property
    def _log(self) -> dict[str, str] | None:
        """Checksums of the log's files and of how they are read; None when there is none here."""
        log = self._scenario.data.interactions
        try:
            files = expand_paths(log.paths, _KEY)
            settings = log.model_dump(mode="json", exclude={"path"})
            return {**input_checksums(dict.fromkeys(files, _KEY)), _KEY: settings_hash(settings)}
        except ConfigurationError as error:
            say(f"encode: the vectors are not compared with the ids of the log: {error}")
            return None

    @cached_property
    def _counts(self) -> dict[str, dict[str, int]]:
        forgotten = Forgotten.of(self._scenario.work_dir)
        return rows_by_id(self._scenario.data.interactions, forgotten)
