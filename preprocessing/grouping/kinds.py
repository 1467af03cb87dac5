"""What the groups of a source are made of."""

from __future__ import annotations

from typing import Literal

from configs.knowledge import SourceAnswers
from configs.loading import ConfigurationError
from configs.prompting import Prompts

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
