"""Individual prompts: one for each item and one for each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.prompting.first_interactions import FirstInteractions
from preprocessing.prompting.prompt_file import PromptFile
from preprocessing.prompting.prompt_scenario import PromptScenario
from preprocessing.prompting.scratch import Scratch
from preprocessing.prompting.template import Template
from preprocessing.records.contract import INDIVIDUAL


def factor_list(factors: Sequence[str]) -> str:
    """'a, b, and c' of several factors."""
    if len(factors) < 3:
        return " and ".join(factors)
    return f"{', '.join(factors[:-1])}, and {factors[-1]}"


def write_item_prompts(
    source: str, scenario: PromptScenario, scratch: Scratch, file: PromptFile, path: str
) -> tuple[dict[str, int], list[DeadLetter]]:
    """Writes a prompt for each item of the catalogue.

    Args:
      source: name of the source.
      scenario: factors and templates.
      scratch: holds the items.
      file: takes the prompts.
      path: the catalogue, for dead letters.

    Returns:
      Counts, and dead letters for items without title: nothing can be asked about them.
    """
    template = Template(scenario.templates.item)
    fixed = {
        "noun": scenario.noun.singular,
        "nouns": scenario.noun.plural,
        "factors": factor_list(scenario.factors.item),
    }
    file.start(source, "item", INDIVIDUAL)
    dead_letters = []
    for item_id, title, line in scratch.items():
        if title:
            prompt = template.fill({**fixed, "title": title})
            file.write(source, "item", INDIVIDUAL, item_id, prompt)
        else:
            detail = f"no title, so no prompt of source '{source}'"
            dead_letters.append(dead_letter(path, line, "missing_title", detail))
    items, untitled = scratch.item_count, len(dead_letters)
    return {"items": items, "prompts": items - untitled, "without_title": untitled}, dead_letters


class UserPrompts:
    """Writes a prompt for each user from the user's first k_u interactions, oldest first."""

    def __init__(self, sources: Sequence[str], scenario: PromptScenario, positive_rating: float):
        """Prepares the templates.

        Args:
          sources: user sources with individual answers; each asks the same.
          scenario: factors and templates.
          positive_rating: from here on an interaction is called liked.

        Attributes:
          counts: users, prompts, users without prompt by reason, and interactions not shown.
        """
        self._sources = sources
        self._user = Template(scenario.templates.user)
        self._entry = Template(scenario.templates.history_entry)
        self._positive_rating = positive_rating
        self._fixed = {
            "noun": scenario.noun.singular,
            "nouns": scenario.noun.plural,
            "factors": factor_list(scenario.factors.user),
        }
        self.counts: Counter[str] = Counter(
            users=0, prompts=0, without_history=0, without_titles=0, interactions_without_title=0
        )

    def write(
        self,
        seen: FirstInteractions,
        titles: Sequence[str],
        profiles: Mapping[str, str],
        file: PromptFile,
    ) -> None:
        """Writes the prompts of some users.

        Args:
          seen: the interactions [0, k_u) of the users.
          titles: [rows] name of each interaction's item, empty if it has none.
          profiles: profile sentence by user, for users who have one.
          file: takes the prompts.
        """
        for source in self._sources:
            file.start(source, "user", INDIVIDUAL)
        ends = np.searchsorted(seen.user_of_row, np.arange(len(seen.users)), side="right").tolist()
        start = 0
        for user_id, end in zip(seen.users, ends, strict=True):
            self.counts["users"] += 1
            history = [
                self._shown(titles[row], float(seen.ratings[row]))
                for row in range(start, end)
                if titles[row]
            ]
            self.counts["interactions_without_title"] += end - start - len(history)
            if history:
                self.counts["prompts"] += 1
                profile = profiles.get(user_id)
                values = {
                    "profile": f"{profile} " if profile else "",
                    "history": "; ".join(history),
                }
                prompt = self._user.fill({**self._fixed, **values})
                for source in self._sources:
                    file.write(source, "user", INDIVIDUAL, user_id, prompt)
            else:
                self.counts["without_titles" if end > start else "without_history"] += 1
            start = end

    def _shown(self, title: str, rating: float) -> str:
        opinion = "liked" if rating >= self._positive_rating else "disliked"
        return self._entry.fill({"title": title, "rating": f"{rating:.10g}", "opinion": opinion})
