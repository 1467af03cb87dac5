"""Nothing that an LLM prompt saw of a user may be a sample (leak rule).

The rule says that the LLM saw a user's first k_u interactions at most. Where a prompt is at hand
and the configuration says how to recognise an interaction in it, the interactions shown are
counted, and the larger of the two numbers is the limit that every sample is compared with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from configs.loading import ConfigurationError
from configs.scenario import Knowledge
from preprocessing.hashing import anonymous
from preprocessing.interactions.sequences import UserSequences
from preprocessing.interactions.splitting import HISTORY_ONLY, SplitRows

MAXIMUM_EXAMPLES = 5


@dataclass(frozen=True)
class LeakCheck:
    """Result of the check for some users.

    Attributes:
      violations: samples that a prompt saw.
      examples: descriptions of the first violations, with hashed ids.
      users_verified_by_prompt: users whose prompt was counted.
      users_by_rule_only: users without one.
    """

    violations: int
    examples: list[str]
    users_verified_by_prompt: int
    users_by_rule_only: int


def check_leaks(sequences: UserSequences, split: SplitRows, seen: dict[str, int]) -> LeakCheck:
    """Compares the position of every sample with what the LLM saw.

    Args:
      sequences: all interactions of some users.
      split: their split.
      seen: user -> number of interactions in the prompt, for users with one.
    """
    seen_counts = np.array([seen.get(user, 0) for user in sequences.users], dtype=np.int64)
    limits = np.maximum(split.boundaries, seen_counts)[sequences.user_of_row]
    violations = np.flatnonzero((split.parts != HISTORY_ONLY) & (sequences.positions < limits))
    examples = [
        f"user {anonymous(sequences.users[sequences.user_of_row[row]])}, "
        f"item {anonymous(sequences.items[row])}, position {sequences.positions[row]}, "
        f"the LLM saw {limits[row]}"
        for row in violations[:MAXIMUM_EXAMPLES]
    ]
    verified = int((seen_counts > 0).sum())
    return LeakCheck(
        violations=len(violations),
        examples=examples,
        users_verified_by_prompt=verified,
        users_by_rule_only=len(sequences.users) - verified,
    )


def counted_sources(knowledge: Knowledge) -> dict[str, re.Pattern[str]]:
    """User sources with individual answers whose prompts can be counted, with the pattern.

    Raises:
      ConfigurationError: a pattern is not a regular expression.
    """
    patterns = {}
    for source, answers in sorted(knowledge.answers.items()):
        if answers.entity != "user" or not answers.individual or not answers.history_entry_pattern:
            continue
        try:
            patterns[source] = re.compile(answers.history_entry_pattern)
        except re.error as error:
            key = f"knowledge.answers.{source}.history_entry_pattern"
            raise ConfigurationError(f"{key}: not a regular expression ({error})") from error
    return patterns


def unverified_sources(knowledge: Knowledge) -> list[str]:
    """Sources for which nothing shows that the LLM saw only interactions before k_u."""
    unverified = []
    for source, answers in sorted(knowledge.answers.items()):
        unknown_groups = bool(answers.collective) and not answers.groups_verified
        unknown_prompts = (
            answers.entity == "user"
            and bool(answers.individual)
            and not answers.history_entry_pattern
        )
        if unknown_groups or unknown_prompts:
            unverified.append(source)
    return unverified


def largest_seen(batches: Iterable[Iterable[tuple[str, int]]]) -> dict[str, int]:
    """User -> largest number of interactions that any of the user's prompts showed."""
    seen: dict[str, int] = {}
    for batch in batches:
        for user, count in batch:
            seen[user] = max(count, seen.get(user, 0))
    return seen
