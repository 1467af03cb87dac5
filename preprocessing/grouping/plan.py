"""Which groups are made, from which files and settings, and where they lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from configs.knowledge import Grouping, SourceAnswers
from configs.loading import ConfigurationError
from configs.prompting import Prompts
from configs.scenario import Scenario
from preprocessing.answers.record import chosen_sources, recorded_source
from preprocessing.records.layout import StepDirectory

Kind = Literal["item", "liked", "disliked"]
"""Items, or users by what they liked or disliked."""


def kind_of_groups(asked: str, described: SourceAnswers, prompts: Prompts) -> Kind:
    """The kind of the groups of a source.

    Args:
      asked: its name, see `asked_sources`.
      described: its configuration.
      prompts: says what users were grouped by.

    Raises:
      ConfigurationError: the source is about users, and nothing says what they are grouped by.
    """
    if described.entity == "item":
        return "item"
    if asked not in prompts.user_groups:
        raise ConfigurationError(
            f"prompts.user_groups: say what the users of source '{asked}' are grouped by, "
            f"e.g. prompts.user_groups.{asked}=liked (or disliked)"
        )
    return prompts.user_groups[asked]


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


@dataclass(frozen=True)
class GroupingPlan:
    """How the entities of one source are grouped.

    Attributes:
      source: its name, see `asked_sources`.
      kind: groups of items, or of users by what they liked or disliked.
      grouping: features and sizes.
      minimum: fewest items with a title, or users, of a group.
    """

    source: str
    kind: Kind
    grouping: Grouping
    minimum: int

    def settings(self, scenario: Scenario) -> dict[str, object]:
        """What the groups depend on beside the input files."""
        return {
            "kind": self.kind,
            "grouping": self.grouping,
            "minimum": self.minimum,
            "interactions": scenario.data.interactions,
            "catalogue": scenario.data.catalogue,
            "filter": scenario.data.filter,
            "labels": scenario.data.labels,
            "positive_rating": scenario.data.positive_rating,
            "knowledge_history_cap": scenario.split.knowledge_history_cap,
        }


def plan_groups(scenario: Scenario, sources: Sequence[str] | None) -> list[GroupingPlan]:
    """Decides what to group.

    Args:
      scenario: the scenario.
      sources: names of sources with `grouping`; None takes all that have it.

    Raises:
      ConfigurationError: a source is unknown or has no `grouping`, its users are grouped by nothing
        known, its sizes exclude each other, or its features do not exist.
    """
    chosen = chosen_sources(scenario.knowledge.answers, sources)
    for source in chosen if sources is not None else ():
        if chosen[source].grouping is None:
            raise ConfigurationError(
                f"knowledge.answers.{source}: has no 'grouping', so its groups are not made here; "
                f"for example knowledge.answers.{source}.grouping.maximum_size=80"
            )
    return [
        _plan_source(scenario, source, described, described.grouping)
        for source, described in chosen.items()
        if described.grouping is not None
    ]


def _plan_source(
    scenario: Scenario, source: str, described: SourceAnswers, grouping: Grouping
) -> GroupingPlan:
    key = f"knowledge.answers.{source}.grouping"
    if grouping.features == ("attributes",) and not scenario.data.catalogue.attributes:
        raise ConfigurationError(
            f"{key}.features: nothing but attributes, and data.catalogue.attributes is empty"
        )
    kind = kind_of_groups(source, described, scenario.prompts)
    if kind == "item":
        minimum = fewest_items(grouping.maximum_size)
    else:
        minimum = scenario.prompts.minimum_group_users
        if grouping.maximum_size < 2 * minimum - 1:
            raise ConfigurationError(
                f"{key}.maximum_size: {grouping.maximum_size} is too small for groups of "
                f"at least {minimum} users (prompts.minimum_group_users); use at least "
                f"{2 * minimum - 1}, so that a larger group can be cut in two"
            )
    return GroupingPlan(source, kind, grouping, minimum)


def fewest_items(maximum: int) -> int:
    """Fewest titled items of a group: a quarter of the most, and two where a cut allows it.

    Args:
      maximum: most items of a group.
    """
    return min(max(2, maximum // 4), (maximum + 1) // 2)
