"""Which prompts are made, for which sources, from which files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.loading import ConfigurationError
from configs.scenario import Data, Prompts, Scenario, Section, SourceAnswers
from preprocessing.names import require_plain_name
from preprocessing.prompting.prompt_scenario import (
    PromptScenario,
    load_prompt_scenario,
    prompt_scenario_path,
)


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
      knowledge_history_cap: the LLM sees at most this many of a user's interactions.
      prompts: configuration of the prompts.
      scenario: factors and templates.
      scenario_path: the file they are from.
      answers: the sources by name.
    """

    data: Data
    knowledge_history_cap: int
    prompts: Prompts
    scenario: PromptScenario
    scenario_path: Path
    answers: dict[str, SourceAnswers]

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
            knowledge_history_cap=self.knowledge_history_cap,
            prompts=self.prompts.model_copy(
                update={
                    "expected_answer_tokens": Prompts().expected_answer_tokens,
                    "scenario": str(self.scenario_path.name),
                }
            ),
            answers=self.answers,
        )

    @property
    def input_files(self) -> dict[str, str]:
        """Input file -> configuration key that names it."""
        files = {
            self.data.catalogue.path: "data.catalogue.path",
            self.data.interactions.path: "data.interactions.path",
            str(self.scenario_path): "prompts.scenario",
        }
        if self.prompts.profiles is not None:
            files[self.prompts.profiles.path] = "prompts.profiles.path"
        for source in self.collective:
            files[self.groups_path(source)] = f"knowledge.answers.{source}.groups"
        return files

    def groups_path(self, source: str) -> str:
        """The groups file of a source with collective answers, which has one."""
        path = self.answers[source].groups
        assert path is not None, source
        return path


def plan_prompts(scenario: Scenario, sources: Sequence[str] | None) -> PromptPlan:
    """Decides what to ask.

    Args:
      scenario: the scenario.
      sources: names of `knowledge.answers`; None takes all.

    Raises:
      ConfigurationError: a source is unknown or its user groups have no kind, or the prompt
        scenario is missing or wrong.
    """
    known = scenario.knowledge.answers
    for source in sources or ():
        if source not in known:
            raise ConfigurationError(
                f"there is no source '{source}' in knowledge.answers (there: {', '.join(known)})"
            )
    answers = {name: known[name] for name in known if not sources or name in sources}
    for source, described in answers.items():
        require_plain_name("knowledge.answers", source)
        by_users = described.entity == "user" and described.collective
        if by_users and source not in scenario.prompts.user_groups:
            raise ConfigurationError(
                f"prompts.user_groups: say what the users of source '{source}' were grouped by, "
                f"e.g. prompts.user_groups.{source}=liked (or disliked)"
            )
    path = prompt_scenario_path(scenario.prompts.scenario)
    return PromptPlan(
        data=scenario.data,
        knowledge_history_cap=scenario.split.knowledge_history_cap,
        prompts=scenario.prompts,
        scenario=load_prompt_scenario(path),
        scenario_path=path,
        answers=answers,
    )
