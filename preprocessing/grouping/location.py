"""Where the groups of a source are: a file of one's own, or the one that the step `group` makes."""

from __future__ import annotations

from pathlib import Path

from configs.knowledge import SourceAnswers
from configs.scenario import Scenario
from preprocessing.knowledge.factors import recorded_source
from preprocessing.records.layout import StepDirectory

GROUPS_FILE = "groups.csv"


def groups_directory(scenario: Scenario, asked: str) -> StepDirectory:
    """Folder of the step `group` for one source, as `asked_sources` names it."""
    return StepDirectory(Path(scenario.work_dir) / "groups" / asked)


def groups_file(scenario: Scenario, source: str) -> str | None:
    """Path of the groups file of a source, whether it is made yet or not; None without groups.

    Args:
      scenario: the scenario.
      source: a name of `knowledge.answers`.
    """
    described = scenario.knowledge.answers[source]
    return groups_file_of(scenario, recorded_source(source, described.factor), described)


def groups_file_of(scenario: Scenario, asked: str, described: SourceAnswers) -> str | None:
    """The same for a source of `asked_sources`."""
    if described.grouping is None:
        return described.groups
    return str(groups_directory(scenario, asked).path / GROUPS_FILE)
