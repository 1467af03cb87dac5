"""Whether the ids of two tables meet: how many of the log's items and users the other one knows.

Two tables that write the same things with other ids ("artist-2001" and "2001") are each sound, and
nothing that looks at one of them finds the fault. So every step that joins them says how much of
the log it covers, warns below `data.warn_coverage_below`, and fails where nothing meets.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.command_line import say
from configs.knowledge import SourceAnswers
from configs.scenario import Scenario

_DECIMALS = 6
_EXAMPLES = 3
_COLUMNS = {"item": "data.interactions.columns.item", "user": "data.interactions.columns.user"}


@dataclass(frozen=True)
class IdCoverage:
    """How much of a log another table covers.

    Attributes:
      entity: what the ids are, "item" or "user".
      ids: distinct ids of the log.
      covered_ids: those that the other table has too.
      rows: rows of the log, where they were counted.
      covered_rows: those whose id the other table has.
      noun: what the rows are: "interactions", "training_interactions" or "samples".
      lacking: a few ids of the log that the other table has not.
      unused: a few ids of the other table that the log has not.
    """

    entity: str
    ids: int
    covered_ids: int
    rows: int
    covered_rows: int
    noun: str
    lacking: Sequence[str] = ()
    unused: Sequence[str] = ()

    @classmethod
    def measure(
        cls,
        entity: str,
        counts: Mapping[str, int],
        known_ids: Collection[str],
        noun: str = "interactions",
    ) -> IdCoverage:
        """Compares ids.

        Args:
          entity: "item" or "user".
          counts: id of the log -> its rows.
          known_ids: ids of the other table.
          noun: what the rows are.
        """
        known_ids = known_ids if isinstance(known_ids, (set, frozenset)) else set(known_ids)
        covered = counts.keys() & known_ids
        return cls(
            entity=entity,
            ids=len(counts),
            covered_ids=len(covered),
            rows=sum(counts.values()),
            covered_rows=sum(counts[name] for name in covered),
            noun=noun,
            lacking=_examples(counts.keys() - covered, entity),
            unused=_examples(known_ids - covered, entity),
        )

    @classmethod
    def together(cls, parts: Sequence[IdCoverage]) -> IdCoverage:
        """The whole of parts of a log that have no ids in common.

        Args:
          parts: at least one, all of the same entity and noun.
        """
        entity = parts[0].entity
        return cls(
            entity=entity,
            ids=sum(part.ids for part in parts),
            covered_ids=sum(part.covered_ids for part in parts),
            rows=sum(part.rows for part in parts),
            covered_rows=sum(part.covered_rows for part in parts),
            noun=parts[0].noun,
            lacking=_examples({name for part in parts for name in part.lacking}, entity),
            unused=_examples({name for part in parts for name in part.unused}, entity),
        )

    @property
    def share(self) -> float:
        """Covered share of the rows; of the ids where there are no rows, 1 without any."""
        if self.rows:
            return self.covered_rows / self.rows
        return self.share_of_ids

    @property
    def share_of_ids(self) -> float:
        """Covered share of the ids; 1 where there are none."""
        return self.covered_ids / self.ids if self.ids else 1.0

    @property
    def is_empty(self) -> bool:
        """Whether there are ids and none of them meets."""
        return bool(self.ids) and not self.covered_ids

    def as_dictionary(self) -> dict[str, Any]:
        """Counts and shares for programs; no ids."""
        return {
            "entity": self.entity,
            "ids": self.ids,
            "covered_ids": self.covered_ids,
            "share_of_ids": round(self.share_of_ids, _DECIMALS),
            self.noun: self.rows,
            f"covered_{self.noun}": self.covered_rows,
            f"share_of_{self.noun}": round(self.share, _DECIMALS),
        }


def tell_table_coverage(scenario: Scenario, table: str, counted: Mapping[str, Any]) -> None:
    """Says how much of the log the catalogue or the profiles describe, and warns when it is little.

    Args:
      scenario: names the files and the threshold.
      table: "catalogue" or "profiles".
      counted: `IdCoverage.as_dictionary`.
    """
    say(f"examples: {shares_of_log(counted)} are in the {table}")
    if counted["covered_ids"] and _share(counted) < scenario.data.warn_coverage_below:
        say(
            f"examples: warning: the {table} {_table_files(scenario, table)} and the log "
            f"{_log(scenario)} have little in common: do their ids mean the same "
            f"{counted['entity']}s? {_threshold(scenario)}"
        )


def table_refusal(scenario: Scenario, table: str, coverage: IdCoverage) -> str:
    """The message when no item of the log is in the catalogue, or no user in the profiles."""
    entity = coverage.entity
    return (
        f"none of the {coverage.ids:,} {entity}s of the log {_log(scenario)} is in the {table} "
        f"{_table_files(scenario, table)}: {_both_sides(coverage, f'the {table}')}. Name the "
        f"columns that hold the same ids in {_COLUMNS[entity]} and data.{table}.{entity}, or "
        "rewrite one of the files"
    )


def tell_knowledge_coverage(
    scenario: Scenario, source: str, counted: Mapping[str, Any], step: str
) -> None:
    """Says how much of the log a source knows, and warns when it is little.

    Args:
      scenario: names the files and the threshold.
      source: the source of knowledge.
      counted: `IdCoverage.as_dictionary`.
      step: what the line begins with.
    """
    say(f"{step} {source}: {shares_of_log(counted)} have a vector")
    if counted["covered_ids"] and _share(counted) < scenario.data.warn_coverage_below:
        say(
            f"{step} {source}: warning: {_made_from(scenario, source)} know little of the log "
            f"{_log(scenario)}: do their ids mean the same {counted['entity']}s? {_fix(counted)}. "
            f"{_threshold(scenario)}"
        )


def knowledge_refusal(scenario: Scenario, source: str, coverage: IdCoverage) -> str:
    """The message when no item, or no user, of the log has a vector of a source."""
    return (
        f"knowledge.answers.{source}: none of the {coverage.ids:,} {coverage.entity}s of the log "
        f"{_log(scenario)} has a vector from {_made_from(scenario, source)}: "
        f"{_both_sides(coverage, 'the knowledge')}. {_fix(coverage.as_dictionary())}"
    )


def _examples(ids: Collection[str], entity: str) -> tuple[str, ...]:
    """A few ids; of users only their shape, since ids of users stand in no message."""
    if entity == "user":
        ids = {id_shape(name) for name in ids}
    return tuple(sorted(ids, key=lambda name: (len(name), name))[:_EXAMPLES])


def id_shape(name: str) -> str:
    """An id with 9 for every digit and a for every letter, which tells no one who it is."""
    return re.sub(r"[^\W\d_]", "a", re.sub(r"\d", "9", name))


def _both_sides(coverage: IdCoverage, other: str) -> str:
    like = "look like" if coverage.entity == "user" else "are, for example,"
    note = " (9 stands for a digit, a for a letter)" if coverage.entity == "user" else ""
    return (
        f"the log's ids {like} {_quoted(coverage.lacking)}, those of {other} "
        f"{_quoted(coverage.unused)}{note}"
    )


def _quoted(ids: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in ids) or "none"


def shares_of_log(counted: Mapping[str, Any]) -> str:
    """The shares of `IdCoverage.as_dictionary`, for people."""
    noun = _noun(counted)
    entity = f"{counted['entity']}s"
    return (
        f"{counted['share_of_ids']:.1%} of the log's {counted['ids']:,} {entity} and "
        f"{counted[f'share_of_{noun}']:.1%} of its {counted[noun]:,} {noun.replace('_', ' ')}"
    )


def _share(counted: Mapping[str, Any]) -> float:
    return float(counted[f"share_of_{_noun(counted)}"])


def _noun(counted: Mapping[str, Any]) -> str:
    return next(key for key in counted if key != "ids" and f"covered_{key}" in counted)


def _threshold(scenario: Scenario) -> str:
    return (
        f"This is said below data.warn_coverage_below, {scenario.data.warn_coverage_below:.0%}; "
        "docs/data.md, 'Ids that meet'"
    )


def _fix(counted: Mapping[str, Any]) -> str:
    return (
        "Give the answers the log's ids with 'python -m preprocessing import --ids FILE', or name "
        f"the column with the same ids in {_COLUMNS[counted['entity']]}"
    )


def _table_files(scenario: Scenario, table: str) -> str:
    return _files(getattr(scenario.data, table).paths)


def _log(scenario: Scenario) -> str:
    return _files(scenario.data.interactions.paths)


def _made_from(scenario: Scenario, source: str) -> str:
    answers: SourceAnswers = scenario.knowledge.answers[source]
    files = [*answers.individual, *answers.collective, *answers.vectors]
    if answers.metadata:
        files += scenario.data.catalogue.paths
    return _files([*files, *([answers.groups] if answers.groups else [])]) or f"'{source}'"


def _files(paths: Sequence[str]) -> str:
    return ", ".join(paths)
