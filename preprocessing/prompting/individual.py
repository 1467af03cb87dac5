"""Individual prompts: one for each item and one for each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.first_interactions import FirstInteractions
from preprocessing.prompt_templates.prompt_scenario import PromptScenario
from preprocessing.prompt_templates.template import Template
from preprocessing.prompting.prompt_file import PromptFile
from preprocessing.prompting.reading import Scratch
from preprocessing.records.contract import INDIVIDUAL


def factor_list(factors: Sequence[str]) -> str:
    """'a, b, and c' of several factors."""
    if len(factors) < 3:
        return " and ".join(factors)
    return f"{', '.join(factors[:-1])}, and {factors[-1]}"


def write_item_prompts(
    source: str,
    scenario: PromptScenario,
    scratch: Scratch,
    file: PromptFile,
    catalogue_files: Sequence[str],
    kept_items: Sequence[str] | None = None,
) -> tuple[dict[str, int], list[DeadLetter]]:
    """Writes a prompt for each item of the catalogue.

    Args:
      source: name of the source.
      scenario: factors and templates.
      scratch: holds the items.
      file: takes the prompts.
      catalogue_files: the catalogue's files by index, for dead letters.
      kept_items: the only items to ask about, because `data.filter` leaves out all others; all
        items if not given.

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
    asked = np.full(scratch.item_count, kept_items is None)
    if kept_items is not None:
        codes = scratch.codes(kept_items)
        asked[codes[codes >= 0]] = True
    for code, (item_id, title, (catalogue_file, line)) in enumerate(scratch.items()):
        if not asked[code]:
            continue
        if title:
            prompt = template.fill({**fixed, "title": title})
            file.write(source, "item", INDIVIDUAL, item_id, prompt)
        else:
            detail = f"no title, so no prompt of source '{source}'"
            path = catalogue_files[catalogue_file]
            dead_letters.append(dead_letter(path, line, "missing_title", detail))
    counts = {
        "items": scratch.item_count,
        "prompts": int(asked.sum()) - len(dead_letters),
        "without_title": len(dead_letters),
        "filtered_out": int((~asked).sum()),
    }
    return counts, dead_letters


class UserPrompts:
    """Writes a prompt for each user from the user's first k_u interactions, oldest first.

    Interactions with an item without title are left out of the text, so k_u is written beside it
    (`interactions_seen`): the leak check could not tell from the text how far the prompt reaches.
    """

    def __init__(self, sources: Sequence[str], scenario: PromptScenario, rated: bool):
        """Prepares the templates.

        Args:
          sources: user sources with individual answers; each asks the same.
          scenario: factors and templates.
          rated: the log has ratings; without, those of `FirstInteractions` repeat the labels and
            must not pass for stars.

        Attributes:
          counts: users, prompts, users without prompt by reason, and interactions not shown.
        """
        self._sources = sources
        self._user = Template(scenario.templates.user)
        templates = scenario.templates
        self._entry = Template(
            templates.history_entry if rated else templates.history_entry_without_rating
        )
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
                self._shown(titles[row], float(seen.ratings[row]), bool(seen.liked[row]))
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
                    file.write(source, "user", INDIVIDUAL, user_id, prompt, end - start)
            else:
                self.counts["without_titles" if end > start else "without_history"] += 1
            start = end

    def _shown(self, title: str, rating: float, liked: bool) -> str:
        opinion = "liked" if liked else "disliked"
        return self._entry.fill({"title": title, "rating": f"{rating:.10g}", "opinion": opinion})
