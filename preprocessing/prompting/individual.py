"""Individual prompts: one for each item and one for each user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.interactions.first_interactions import FirstInteractions
from preprocessing.prompt_templates import Template, Templates
from preprocessing.prompting.prompt_file import PromptFile
from preprocessing.prompting.questions import Question
from preprocessing.prompting.reading import Scratch


def write_item_prompts(
    question: Question,
    scratch: Scratch,
    file: PromptFile,
    catalogue_files: Sequence[str],
    kept_items: Sequence[str] | None = None,
) -> tuple[dict[str, int], list[DeadLetter]]:
    """Writes a prompt for each item of the catalogue.

    Args:
      question: what is asked about each.
      scratch: holds the items.
      file: takes the prompts.
      catalogue_files: the catalogue's files by index, for dead letters.
      kept_items: the only items to ask about, because `data.filter` leaves out all others; all
        items if not given.

    Returns:
      Counts, and dead letters for items without title: nothing can be asked about them.
    """
    file.start(question)
    dead_letters = []
    asked = np.full(scratch.item_count, kept_items is None)
    if kept_items is not None:
        codes = scratch.codes(kept_items)
        asked[codes[codes >= 0]] = True
    for code, (item_id, title, (catalogue_file, line)) in enumerate(scratch.items()):
        if not asked[code]:
            continue
        if title:
            file.write(question, item_id, {"title": title})
        else:
            detail = f"no title, so no prompt of source '{question.source}'"
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

    def __init__(self, questions: Sequence[Question], templates: Templates, rated: bool):
        """Prepares the templates.

        Args:
          questions: what is asked about each user.
          templates: of history entries.
          rated: the log has ratings; without, those of `FirstInteractions` repeat the labels and
            must not pass for stars.

        Attributes:
          counts: users, prompts, users without prompt by reason, and interactions not shown.
        """
        self._questions = questions
        self._entry = Template(
            templates.history_entry if rated else templates.history_entry_without_rating
        )
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
        for question in self._questions:
            file.start(question)
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
                for question in self._questions:
                    file.write(question, user_id, values, interactions_seen=end - start)
            else:
                self.counts["without_titles" if end > start else "without_history"] += 1
            start = end

    def _shown(self, title: str, rating: float, liked: bool) -> str:
        opinion = "liked" if liked else "disliked"
        return self._entry.fill({"title": title, "rating": f"{rating:.10g}", "opinion": opinion})
