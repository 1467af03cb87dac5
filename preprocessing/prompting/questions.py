"""What sources are asked: prose, lists of names, or both of them in one structured answer."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.knowledge import Links, SourceAnswers
from configs.loading import ConfigurationError
from preprocessing.answers.names import LINKS, LISTS
from preprocessing.grouping.plan import Kind
from preprocessing.prompt_templates import PromptScenario, Template
from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL


def factor_list(factors: Sequence[str]) -> str:
    """'a, b, and c' of several factors."""
    if len(factors) < 3:
        return " and ".join(factors)
    return f"{', '.join(factors[:-1])}, and {factors[-1]}"


@dataclass(frozen=True)
class Question:
    """What the prompts of one source and extraction ask.

    Attributes:
      source: name under which the source is asked about.
      entity: "item" or "user".
      extraction: "individual" or "collective".
      pieces: templates of its sentences; open are title, history and profile, or titles.
      fixed: values of their other placeholders.
      is_prose: whether a text is asked for.
      texts: fields of the JSON answer that hold the text; none where the answer is free text.
      lists: fields of the JSON answer that hold names -> how many are asked for.
    """

    source: str
    entity: str
    extraction: str
    pieces: tuple[str, ...]
    fixed: Mapping[str, str]
    is_prose: bool
    texts: tuple[str, ...]
    lists: Mapping[str, int]

    @property
    def lists_members(self) -> bool:
        """True when it asks for names for each member of a group."""
        return self.extraction == COLLECTIVE and bool(self.lists)

    def names(self, members: int) -> int:
        """Names that a prompt asks for.

        Args:
          members: members of the group that it lists, 0 for none.
        """
        return sum(self.lists.values()) * max(1, members)

    @functools.cached_property
    def _templates(self) -> list[Template]:
        return [Template(piece) for piece in self.pieces]

    def prompt(self, values: Mapping[str, str], members: int = 0) -> str:
        """The prompt.

        Args:
          values: of the open placeholders.
          members: see `names`.
        """
        filled = {**self.fixed, **values}
        sentences = [template.fill(filled) for template in self._templates]
        if self.lists:
            sentences.append(f"Answer with a JSON object {self._form(members)}.")
        return " ".join(sentences)

    def _form(self, members: int) -> str:
        names = "[titles]"
        if self.lists_members:
            numbers = [f'"{number}": {names}' for number in range(1, members + 1)]
            shown = numbers if members < 3 else [numbers[0], "...", numbers[-1]]
            names = f"{{{', '.join(shown)}}}"
        texts = [f'"{field}": text' for field in self.texts]
        lists = [f'"{field}": {names}' for field in self.lists]
        return f"{{{', '.join([*texts, *lists])}}}"

    def schema(self, members: int = 0) -> dict[str, Any] | None:
        """JSON schema of the answer; None where that is free text."""
        if not self.lists:
            return None
        names: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
        if self.lists_members:
            names = _object_of({str(number): names for number in range(1, members + 1)})
        fields = dict.fromkeys(self.texts, {"type": "string"}) | dict.fromkeys(self.lists, names)
        return _object_of(fields)

    @property
    def settings(self) -> dict[str, object]:
        """What its prompts depend on, beside the templates of the scenario."""
        return {
            "asked": [self.source, self.entity, self.extraction, self.is_prose],
            "texts": self.texts,
            "lists": self.lists,
            "until": self.fixed["until"],
        }


def _object_of(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def questions_of(
    asked: str,
    together: Mapping[str, SourceAnswers],
    scenario: PromptScenario,
    kind: Kind | None,
) -> list[Question]:
    """What is asked about entities, and what about groups of them.

    Args:
      asked: name under which the sources are asked about.
      together: the sources, see `sources_of`.
      scenario: templates and factors.
      kind: what groups are made of; None without collective answers.

    Raises:
      ConfigurationError: prose and names of one answer do not say in which field of it each is, or
        both would be asked of groups.
    """
    questions = []
    for extraction in (INDIVIDUAL, COLLECTIVE):
        chosen = {
            source: described
            for source, described in together.items()
            if getattr(described, extraction)
        }
        prose = {name: answer for name, answer in chosen.items() if answer.links is None}
        naming = {name: answer for name, answer in chosen.items() if answer.links is not None}
        for name, described in prose.items() if naming else ():
            if extraction == COLLECTIVE or described.factor is None:
                _refuse(name, next(iter(naming)), extraction)
        if len(naming) > 1:
            first, second, *_ = naming
            raise ConfigurationError(
                f"knowledge.answers.{second}.links: '{first}' asks for names under the same name "
                f"'{asked}'; leave one of them out, or name its 'factor' otherwise"
            )
        if chosen:
            entity = next(iter(chosen.values())).entity
            links = next(iter(naming.values()), None)
            questions.append(
                _question((asked, entity, extraction), prose, links, scenario, kind or "item")
            )
    return questions


def _refuse(prose: str, naming: str, extraction: str) -> None:
    if extraction == COLLECTIVE:
        raise ConfigurationError(
            f"knowledge.answers.{naming}.collective: one prompt lists the members of a group for "
            f"their links, another describes what they have in common; ask for links under a name "
            f"other than that of '{prose}', without 'factor'"
        )
    raise ConfigurationError(
        f"knowledge.answers.{prose}.factor: one answer holds its prose and the names of "
        f"'{naming}'; say which field of the answer is the prose, e.g. "
        f"knowledge.answers.{prose}.factor=description"
    )


def _question(
    asked: tuple[str, str, str],
    prose: Mapping[str, SourceAnswers],
    naming: SourceAnswers | None,
    scenario: PromptScenario,
    kind: Kind,
) -> Question:
    source, entity, extraction = asked
    templates, phrases = scenario.templates, scenario.links
    links = (naming and naming.links) or Links()
    pieces: list[str] = []
    if extraction == COLLECTIVE and naming is not None:
        pieces.append(phrases.item_group)
    elif extraction == COLLECTIVE:
        described = {"item": templates.item_group, "liked": templates.users_by_liked}
        pieces.append(described.get(kind, templates.users_by_disliked))
    elif prose:
        pieces.append(templates.item if entity == "item" else templates.user)
    else:
        pieces.append(phrases.about_item if entity == "item" else phrases.about_user)
    lists: dict[str, int] = {}
    if naming is not None:
        pieces.append(phrases.item if entity == "item" else phrases.user)
        lists = {kind: links.most_names[kind] for kind in LISTS[entity]}
        if entity == "item":
            lists = {naming.factor or LINKS: links.names}
    factors = scenario.factors.item if entity == "item" else scenario.factors.user
    return Question(
        source=source,
        entity=entity,
        extraction=extraction,
        pieces=tuple(pieces),
        fixed={
            "noun": scenario.noun.singular,
            "nouns": scenario.noun.plural,
            "factors": factor_list(factors),
            "number": str(links.names),
            "disliked": str(links.disliked_names),
            "until": Template(phrases.until).fill({"until": links.until}) if links.until else "",
        },
        is_prose=bool(prose),
        texts=tuple(answer.factor or "" for answer in prose.values()) if naming else (),
        lists=lists,
    )
