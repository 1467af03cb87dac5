"""Nothing that an LLM prompt saw of a user may be a sample (leak rule).

The rule says that the LLM saw a user's first k_u interactions at most. Where a prompt is at hand
and the configuration says how to recognise an interaction in it, the interactions shown are
counted; an answer may also record how many its prompt was made from. The largest of these numbers
is the limit that every sample is compared with.

A prompt may show fewer interactions than it reaches over, since ours leave out items without title.
So a count alone is certain only when the prompt shows all k_u of them (`SeenCount.is_certain`). A
user source is verified when the prompt of every answer that a sample can use was counted with
certainty: prompts that leave some out hardly show exactly k_u for every user.

What a group was built from cannot be counted: `groups_verified` is declared by whoever built the
groups, and groups that are made here (`grouping`) follow the rule by construction. Their names
change with the interactions that they were built from, so answers about other groups are not used.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
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
      users_verified_by_prompt: users whose prompt was counted with certainty.
      users_by_rule_only: users without one.
      uncounted_answers: source -> answers of users with samples whose prompt was not counted, or
        not with certainty; sources without any are absent.
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
    reaches = _largest_reach(seen)
    reach_of_user = np.array([reaches.get(user, 0) for user in sequences.users], dtype=np.int64)
    limits = np.maximum(split.boundaries, reach_of_user)[sequences.user_of_row]
    is_sample = split.parts != HISTORY_ONLY
    violations = np.flatnonzero(is_sample & (sequences.positions < limits))
    shown = violations[:MAXIMUM_EXAMPLES]
    examples = [
        f"user {anonymous(sequences.users[sequences.user_of_row[row]])}, "
        f"item {anonymous(item)}, position {sequences.positions[row]}, "
        f"the LLM saw {limits[row]}"
        for row, item in zip(shown, sequences.items_at(shown), strict=True)
    ]
    boundaries = dict(zip(sequences.users, split.boundaries.tolist(), strict=True))
    certain = {
        count.user
        for count in seen
        if count.user in boundaries and count.is_certain(boundaries[count.user])
    }
    sampled = {
        sequences.users[user]: int(split.boundaries[user])
        for user in np.unique(sequences.user_of_row[is_sample])
    }
    return LeakCheck(
        violations=len(violations),
        examples=examples,
        users_verified_by_prompt=len(certain),
        users_by_rule_only=len(sequences.users) - len(certain),
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
    user sources whose prompts nobody can count for want of a pattern, and vectors made elsewhere:
    vectors of items, too, may be made from the whole log, as factors of its ratings are. Groups
    that are made here (`grouping`) are built from nothing else, with the same k_u.
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
        if undeclared_groups or no_pattern or answers.vectors:
            uncountable.append(source)
    return uncountable


def _largest_reach(seen: Iterable[SeenCount]) -> dict[str, int]:
    """User -> largest number of first interactions that any of the user's prompts reached over."""
    largest: dict[str, int] = {}
    for count in seen:
        largest[count.user] = max(count.reach, largest.get(count.user, 0))
    return largest


def _uncounted_answers(seen: Iterable[SeenCount], sampled: Mapping[str, int]) -> dict[str, int]:
    """Source -> answers in use without certain count; a user's first answer is used.

    Args:
      seen: counts of all answers.
      sampled: users with samples -> k_u.
    """
    used: dict[tuple[str, str], SeenCount] = {}
    for count in sorted(seen, key=lambda count: (count.file_order, count.line)):
        used.setdefault((count.source, count.user), count)
    uncounted = (
        count
        for count in used.values()
        if count.user in sampled and not count.is_certain(sampled[count.user])
    )
    return dict(sorted(Counter(count.source for count in uncounted).items()))
