"""Which groups are made, from which files and settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from configs.knowledge import Grouping, SourceAnswers
from configs.loading import ConfigurationError
from configs.raw_data import Catalogue, ExtraLabel, InteractionFilter, Interactions
from configs.scenario import Scenario
from configs.section import Section
from preprocessing.grouping.kinds import Kind, kind_of_groups
from preprocessing.knowledge.asked_sources import chosen_sources
from preprocessing.names import require_plain_name


class RelevantSections(Section):
    """The parts of a scenario that the groups of a source depend on."""

    kind: Kind
    grouping: Grouping
    minimum: int
    interactions: Interactions
    catalogue: Catalogue
    filter: InteractionFilter
    labels: dict[str, ExtraLabel]
    positive_rating: float
    knowledge_history_cap: int


@dataclass(frozen=True)
class SourcePlan:
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

    def relevant(self, scenario: Scenario) -> RelevantSections:
        """What the groups depend on."""
        return RelevantSections(
            kind=self.kind,
            grouping=self.grouping,
            minimum=self.minimum,
            interactions=scenario.data.interactions,
            catalogue=scenario.data.catalogue,
            filter=scenario.data.filter,
            labels=scenario.data.labels,
            positive_rating=scenario.data.positive_rating,
            knowledge_history_cap=scenario.split.knowledge_history_cap,
        )


def plan_groups(scenario: Scenario, sources: Sequence[str] | None) -> list[SourcePlan]:
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
) -> SourcePlan:
    require_plain_name("knowledge.answers", source)
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
    return SourcePlan(source, kind, grouping, minimum)


def fewest_items(maximum: int) -> int:
    """Fewest titled items of a group: a quarter of the most, and two where a cut allows it.

    Args:
      maximum: most items of a group.
    """
    return min(max(2, maximum // 4), (maximum + 1) // 2)
