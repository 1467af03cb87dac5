"""The prompt that asks an LLM for factors, which an expert then edits into a scenario file."""

from __future__ import annotations

from preprocessing.prompting.sanitising import sanitise_text
from preprocessing.prompting.template import Template

_DESCRIPTION_CHARACTERS = 2000
_PROPOSAL = Template(
    "You advise the builders of a recommender system. The scenario, in their words, is: "
    '"{description}".\n'
    "Which factors decide whether a user of this scenario likes an item? Name 6 to 10 factors "
    "that describe an item, and 6 to 10 that describe a user's preferences. A factor is a noun "
    "phrase of at most four words, is independent of the others, can be known from an item's name "
    "by somebody with general knowledge, and is none of popularity, price history or anything "
    "that only the platform knows.\n"
    "Answer with YAML alone, in this form:\n"
    "noun: {{singular: what an item is called, plural: the same for several}}\n"
    "factors:\n"
    "  item: [first factor, second factor]\n"
    "  user: [first factor, second factor]\n"
)


def factor_proposal_prompt(description: str) -> str:
    """The prompt that asks for the factors of a scenario.

    Args:
      description: what is recommended to whom, e.g. "short news videos for commuters".

    Raises:
      ValueError: the description is empty.
    """
    shown = sanitise_text(description, _DESCRIPTION_CHARACTERS, quoted=True)
    if not shown:
        raise ValueError("the description of the scenario is empty")
    return _PROPOSAL.fill({"description": shown})
