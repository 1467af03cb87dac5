"""Nothing that an LLM prompt saw of a user may be a sample (leak rule).

The rule says that the LLM saw a user's first k_u interactions at most. Where a prompt is at hand
and the configuration says how to recognise an interaction in it, the interactions shown are
counted, and the larger of the two numbers is the limit that every sample is compared with.

A user source is verified when the prompt of every answer that a sample can use was counted. What a
group was built from cannot be counted: `groups_verified` is declared by whoever built the groups,
and groups that are made here (`grouping`) follow the rule by construction.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from configs.knowledge import Knowledge
from configs.loading import ConfigurationError
from preprocessing.hashing import anonymous
from preprocessing.interactions.seen_counts import SeenCount
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
      uncounted_answers: source -> answers of users with samples whose prompt was not counted;
        sources without any are absent.
    """

    violations: int
    examples: list[str]
    users_verified_by_prompt: int
    users_by_rule_only: int
    uncounted_answers: dict[str, int]


def check_leaks(
    sequences: UserSequences, split: SplitRows, seen: Collection[SeenCount]
) -> LeakCheck:
    """Compares the position of every sample with what the LLM saw.

    Args:
      sequences: all interactions of some users.
      split: their split.
      seen: what the prompts of all accepted answers about these users showed.
    """
    largest = _largest_shown(seen)
    seen_counts = np.array([largest.get(user, 0) for user in sequences.users], dtype=np.int64)
    limits = np.maximum(split.boundaries, seen_counts)[sequences.user_of_row]
    is_sample = split.parts != HISTORY_ONLY
    violations = np.flatnonzero(is_sample & (sequences.positions < limits))
    shown = violations[:MAXIMUM_EXAMPLES]
    examples = [
        f"user {anonymous(sequences.users[sequences.user_of_row[row]])}, "
        f"item {anonymous(item)}, position {sequences.positions[row]}, "
        f"the LLM saw {limits[row]}"
        for row, item in zip(shown, sequences.items_at(shown), strict=True)
    ]
    verified = int((seen_counts > 0).sum())
    sampled = {sequences.users[user] for user in np.unique(sequences.user_of_row[is_sample])}
    return LeakCheck(
        violations=len(violations),
        examples=examples,
        users_verified_by_prompt=verified,
        users_by_rule_only=len(sequences.users) - verified,
        uncounted_answers=_uncounted_answers(seen, sampled),
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


def uncountable_sources(knowledge: Knowledge) -> list[str]:
    """Sources that are unverified whatever their answers hold.

    Those are sources with groups that are not declared to be built from interactions before k_u,
    and user sources whose prompts nobody can count for want of a pattern. Groups that are made here
    (`grouping`) are built from nothing else, with the same k_u.
    """
    uncountable = []
    for source, answers in sorted(knowledge.answers.items()):
        verified_groups = answers.groups_verified or answers.grouping is not None
        undeclared_groups = bool(answers.collective) and not verified_groups
        no_pattern = (
            answers.entity == "user"
            and bool(answers.individual)
            and not answers.history_entry_pattern
        )
        made_elsewhere = answers.entity == "user" and bool(answers.vectors)
        if undeclared_groups or no_pattern or made_elsewhere:
            uncountable.append(source)
    return uncountable


def _largest_shown(seen: Iterable[SeenCount]) -> dict[str, int]:
    """User -> largest number of interactions that any of the user's prompts showed."""
    largest: dict[str, int] = {}
    for count in seen:
        largest[count.user] = max(count.shown, largest.get(count.user, 0))
    return largest


def _uncounted_answers(seen: Iterable[SeenCount], sampled: Collection[str]) -> dict[str, int]:
    """Source -> answers in use without a counted prompt; a user's first answer is used."""
    used: dict[tuple[str, str], SeenCount] = {}
    for count in sorted(seen, key=lambda count: (count.file_order, count.line)):
        used.setdefault((count.source, count.user), count)
    uncounted = (count for count in used.values() if not count.shown and count.user in sampled)
    return dict(sorted(Counter(count.source for count in uncounted).items()))
