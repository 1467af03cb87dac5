"""Which prompts are made, for which sources, from which files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.knowledge import SourceAnswers
from configs.prompting import Prompts
from configs.raw_data import Data, Split
from configs.scenario import Scenario
from configs.section import Section
from preprocessing.grouping.kinds import Kind, kind_of_groups
from preprocessing.grouping.location import groups_file_of
from preprocessing.knowledge.asked_sources import chosen_sources
from preprocessing.names import require_plain_name
from preprocessing.prompting.prompt_scenario import (
    PromptScenario,
    load_prompt_scenario,
    prompt_scenario_path,
)
from preprocessing.tables.files import expand_paths


class RelevantSections(Section):
    """The parts of a scenario that prompts depend on."""

    data: Data
    knowledge_history_cap: int
    prompts: Prompts
    answers: dict[str, SourceAnswers]


@dataclass(frozen=True)
class PromptPlan:
    """What to ask.

    Attributes:
      data: configuration of the data.
      split: configuration of the split; the LLM sees at most its `knowledge_history_cap` first
        interactions of a user.
      prompts: configuration of the prompts.
      scenario: factors and templates.
      scenario_path: the file they are from.
      answers: the sources by the name under which they are asked about.
      kinds: what the groups of each source with collective answers are made of.
      groups: the groups file of each source with groups, made already or not.
    """

    data: Data
    split: Split
    prompts: Prompts
    scenario: PromptScenario
    scenario_path: Path
    answers: dict[str, SourceAnswers]
    kinds: dict[str, Kind]
    groups: dict[str, str]

    def individual(self, entity: str) -> list[str]:
        """Sources with individual answers about an entity."""
        return [
            source
            for source, answers in self.answers.items()
            if answers.entity == entity and answers.individual
        ]

    @property
    def collective(self) -> list[str]:
        """Sources with collective answers."""
        return [source for source, answers in self.answers.items() if answers.collective]

    @property
    def relevant(self) -> RelevantSections:
        """What the prompts depend on; what they cost depends on more."""
        return RelevantSections(
            data=self.data,
            knowledge_history_cap=self.split.knowledge_history_cap,
            prompts=self.prompts.model_copy(
                update={
                    "expected_answer_tokens": Prompts().expected_answer_tokens,
                    "scenario": str(self.scenario_path.name),
                }
            ),
            answers=self.answers,
        )

    @property
    def shows_profiles(self) -> bool:
        """True when prompts about users have a sentence about the user."""
        return self.prompts.profile_sentence is not None

    @property
    def input_files(self) -> dict[str, str]:
        """Input file -> configuration key that names it.

        Raises:
          ConfigurationError: a path or pattern means no file.
        """
        tables = {
            "data.catalogue.path": self.data.catalogue,
            "data.interactions.path": self.data.interactions,
        }
        if self.shows_profiles and self.data.profiles:
            tables["data.profiles.path"] = self.data.profiles
        files = {str(self.scenario_path): "prompts.scenario"}
        for key, table in tables.items():
            files |= dict.fromkeys(expand_paths(table.paths, key), key)
        for source in self.collective:
            files[self.groups[source]] = f"knowledge.answers.{source}.groups"
        return files


def plan_prompts(scenario: Scenario, sources: Sequence[str] | None) -> PromptPlan:
    """Decides what to ask.

    Args:
      scenario: the scenario.
      sources: names of `knowledge.answers`; None takes all.

    Raises:
      ConfigurationError: a source is unknown or its user groups have no kind, or the prompt
        scenario is missing or wrong.
    """
    answers = chosen_sources(scenario.knowledge.answers, sources or None)
    for source in answers:
        require_plain_name("knowledge.answers", source)
    kinds = {
        source: kind_of_groups(source, described, scenario.prompts)
        for source, described in answers.items()
        if described.collective
    }
    groups = {
        source: groups_file_of(scenario, source, described) for source, described in answers.items()
    }
    path = prompt_scenario_path(scenario.prompts.scenario)
    return PromptPlan(
        data=scenario.data,
        split=scenario.split,
        prompts=scenario.prompts,
        scenario=load_prompt_scenario(path),
        scenario_path=path,
        answers=answers,
        kinds=kinds,
        groups={source: path for source, path in groups.items() if path is not None},
    )
