"""Nothing that an LLM prompt showed of a user may be a sample (leak rule), entry by entry."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from configs.knowledge import Knowledge, Seen, SourceAnswers
from configs.section import Section
from preprocessing.answers.record import (
    RejectedAnswer,
    batched_lines,
    parse_answer,
    recorded_source,
)
from preprocessing.interactions.sequences import HISTORY_ONLY, SplitRows, UserSequences
from preprocessing.interactions.shown_entries import Name, PromptWording, Shown, UserLog, resolve
from preprocessing.records.contract import INDIVIDUAL
from preprocessing.records.hashing import anonymous

_DIGEST_BYTES = 32
_HALF = (1 << 60) - 1


class SeenPrompt(NamedTuple):
    """The prompt of one accepted answer about a user.

    Attributes:
      source: name of the answer's source.
      user: the user it is about.
      file_order: place of its file in the configuration.
      line: line number in the file; of a user's answers, the first one is used.
      prompt: what the LLM was asked; None if the answer does not say.
      recorded: how many of the user's first interactions the prompt was made from, as the answer's
        field `interactions_seen` says; None if it does not.
    """

    source: str
    user: str
    file_order: int
    line: int
    prompt: str | None
    recorded: int | None = None


def read_seen_prompts(source: str, answers: SourceAnswers) -> Iterator[list[SeenPrompt]]:
    """Reads the prompts of a source's individual answers.

    Args:
      source: name of a user source.
      answers: its configuration.

    Yields:
      Batches of prompts. Answers that are not accepted make no knowledge and are left out.
    """
    recorded = recorded_source(source, answers.factor)
    for file_order, path in enumerate(answers.individual):
        for lines in batched_lines(path):
            batch = []
            for number, line in lines:
                try:
                    answer = parse_answer(line, recorded, INDIVIDUAL)
                except RejectedAnswer:
                    continue
                batch.append(
                    SeenPrompt(
                        source,
                        answer.entity_id,
                        file_order,
                        number,
                        answer.prompt,
                        answer.interactions_seen,
                    )
                )
            yield batch


def digest_seen_prompts(
    answers: Mapping[str, SourceAnswers], sources: Iterable[str]
) -> dict[str, str]:
    """Digests of the prompts of sources: equal when their answers were asked for in the same words.

    The digest is a sum of hashes, one of each answer's user, file, prompt, recorded interactions
    and whether it comes later than the user's first, which is the one in use. So what the LLM wrote
    does not change it, nor the order of lines about different users. Memory holds a number a user.

    Args:
      answers: configuration of all sources.
      sources: the sources whose prompts are compared with the log.

    Returns:
      Source -> digest, hexadecimal. Sources that are factors of the same answers share one.
    """
    digests: dict[str, str] = {}
    read: dict[tuple[str, tuple[str, ...]], str] = {}
    for source in sources:
        described = answers[source]
        what_is_read = (recorded_source(source, described.factor), tuple(described.individual))
        if what_is_read not in read:
            read[what_is_read] = _digest(source, described)
        digests[source] = read[what_is_read]
    return digests


def _digest(source: str, answers: SourceAnswers) -> str:
    total = 0
    answered: set[int] = set()
    for batch in read_seen_prompts(source, answers):
        for seen in batch:
            user = _hashed(seen.user) & _HALF
            fields = [seen.user, seen.file_order, seen.prompt, seen.recorded]
            total += _hashed([*fields, "later"] if user in answered else fields)
            answered.add(user)
    return (total % (1 << 8 * _DIGEST_BYTES)).to_bytes(_DIGEST_BYTES, "big").hex()


def _hashed(value: object) -> int:
    digest = hashlib.blake2b(json.dumps(value).encode(), digest_size=_DIGEST_BYTES).digest()
    return int.from_bytes(digest, "little")


PROMPT_CHECK = "prompt_check"
"""Key of the manifest of examples: how prompts are looked up, and where the answers are."""

MAXIMUM_EXAMPLES = 5

LARGER_CAP = "larger_cap"
"""The prompt shows the user's first interactions, more than `split.knowledge_history_cap`."""

SHORTER_LOG = "shorter_log"
"""The prompt shows the user's first interactions, more than half of those in the log."""

LATER_TRAINING = "later_training"
"""The prompt shows later interactions than the first ones, all of the training part."""

LATER = "later"
"""The prompt shows later interactions than the LLM may have seen."""

OTHER_LOG = "other_log"
"""The prompt shows later interactions, and others that the user does not have."""

OTHER_SPLIT = "other_split"
"""The source saw the training part (`seen: training`), and the prompt shows other parts."""


class CheckedSource(Section):
    """A source whose prompts are looked up.

    Attributes:
      pattern: `history_entry_pattern`.
      seen: what its prompts may show.
    """

    pattern: str
    seen: Seen


class PromptCheck(Section):
    """What it takes to look up what prompts show; it travels to workers and into the manifest."""

    sources: dict[str, CheckedSource] = {}
    wording: PromptWording = PromptWording()


NOTHING_TO_LOOK_UP = PromptCheck()


@dataclass(frozen=True)
class LeakCheck:
    """Result of the check for some users.

    Attributes:
      violations: samples that a prompt saw.
      examples: descriptions of the first violations, with hashed ids.
      users_verified_by_prompt: users with answers in use, every entry of whose prompts was found
        among the interactions that the LLM may have seen.
      users_by_rule_only: all other users.
      unresolved_answers: source -> answers of users with samples whose prompt is not at hand, or
        has entries that were not found; sources without any are absent.
      causes: source -> what violating prompts have in common -> such prompts.
      largest_reach: the largest number of first interactions that a prompt of LARGER_CAP shows.
    """

    violations: int
    examples: list[str]
    users_verified_by_prompt: int
    users_by_rule_only: int
    unresolved_answers: dict[str, int]
    causes: dict[str, dict[str, int]] = field(default_factory=dict)
    largest_reach: int = 0


def check_leaks(
    sequences: UserSequences,
    split: SplitRows,
    seen: Collection[SeenPrompt],
    check: PromptCheck,
    names: Mapping[str, Sequence[Name]],
) -> LeakCheck:
    """Looks up what prompts show, and compares it with the samples.

    Args:
      sequences: all interactions of some users.
      split: their split.
      seen: the prompts of all accepted answers about these users.
      check: how to look up what they show.
      names: item id -> what prompts may call it.
    """
    is_sample = split.parts != HISTORY_ONLY
    early = sequences.positions < split.boundaries[sequences.user_of_row]
    leaked = is_sample & early
    causes: dict[str, Counter[str]] = {}
    largest_reach = 0
    verified: dict[str, bool] = {}
    unresolved: Counter[str] = Counter()
    lookup = _Lookup(sequences, split, early, check, names)
    used: set[tuple[str, str]] = set()
    for prompt in sorted(seen, key=lambda prompt: (prompt.file_order, prompt.line)):
        user = lookup.number(prompt.user)
        if user is None:
            continue
        result = lookup.look_up(prompt, user)
        leaked[result.violations] = True
        if len(result.violations):
            cause = result.cause(int(sequences.counts[user]))
            causes.setdefault(prompt.source, Counter())[cause] += 1
            if cause == LARGER_CAP:
                largest_reach = max(largest_reach, result.reach)
        if (prompt.source, prompt.user) in used:
            continue
        used.add((prompt.source, prompt.user))
        verified[prompt.user] = verified.get(prompt.user, True) and result.shown.verified
        if not result.shown.verified and bool(is_sample[lookup.rows(user)].any()):
            unresolved[prompt.source] += 1
    rows = np.flatnonzero(leaked)
    listed = rows[:MAXIMUM_EXAMPLES]
    return LeakCheck(
        violations=len(rows),
        examples=[
            f"user {anonymous(sequences.users[sequences.user_of_row[row]])}, "
            f"item {anonymous(item)}, position {sequences.positions[row]}, "
            f"k_u is {split.boundaries[sequences.user_of_row[row]]}"
            for row, item in zip(listed, sequences.items_at(listed), strict=True)
        ],
        users_verified_by_prompt=sum(verified.values()),
        users_by_rule_only=len(sequences.users) - sum(verified.values()),
        unresolved_answers=dict(sorted(unresolved.items())),
        causes={source: dict(counted) for source, counted in sorted(causes.items())},
        largest_reach=largest_reach,
    )


def prompt_check(knowledge: Knowledge, wording: PromptWording) -> PromptCheck:
    """How the prompts of all sources are looked up for which that can be done."""
    described = {source: knowledge.answers[source] for source in checked_sources(knowledge)}
    sources = {
        source: CheckedSource(pattern=answers.history_entry_pattern or "", seen=answers.seen)
        for source, answers in described.items()
    }
    return PromptCheck(sources=sources, wording=wording)


def checked_sources(knowledge: Knowledge) -> list[str]:
    """User sources with individual answers whose prompts can be looked up."""
    return [
        source
        for source, answers in sorted(knowledge.answers.items())
        if answers.entity == "user" and answers.individual and answers.history_entry_pattern
    ]


def unverifiable_sources(knowledge: Knowledge) -> list[str]:
    """Sources that are unverified whatever their answers hold.

    Those are sources with groups that are not declared to be built from interactions before k_u,
    user sources whose prompts nobody can look up for want of a pattern, and vectors made elsewhere:
    vectors of items, too, may be made from the whole log, as factors of its ratings are. Groups
    that are made here (`grouping`) are built from nothing else, with the same k_u.
    """
    unverifiable = []
    for source, answers in sorted(knowledge.answers.items()):
        verified_groups = answers.groups_verified or answers.grouping is not None
        undeclared_groups = bool(answers.collective) and not verified_groups
        no_pattern = (
            answers.entity == "user"
            and bool(answers.individual)
            and not answers.history_entry_pattern
        )
        if answers.seen == "training":
            continue
        if undeclared_groups or no_pattern or answers.vectors:
            unverifiable.append(source)
    return unverifiable


def declared_sources(knowledge: Knowledge) -> dict[str, Seen]:
    """Source -> what the configuration declares that the LLM saw, where it declares anything."""
    return {
        source: answers.seen
        for source, answers in sorted(knowledge.answers.items())
        if answers.seen == "training" or (answers.collective and answers.groups_verified)
    }


@dataclass(frozen=True)
class _Found:
    """What one prompt shows, as rows of all sequences.

    Attributes:
      shown: its entries; rows are those of the user.
      violations: rows that it shows and must not.
      reach: how many of the user's first interactions it shows, those without title left out, or
        was made from; 0 if it shows others.
      in_training: all violations are of the training part.
      source: the prompt's source.
    """

    shown: Shown
    violations: np.ndarray
    reach: int
    in_training: bool
    source: CheckedSource

    def cause(self, interactions: int) -> str:
        """What the prompt has in common with others, for the advice of an error."""
        if self.shown.unresolved and not self.reach:
            return OTHER_LOG
        if self.source.seen == "training":
            return OTHER_SPLIT
        if self.reach:
            return SHORTER_LOG if self.reach > (interactions + 1) // 2 else LARGER_CAP
        return LATER_TRAINING if self.in_training else LATER


class _Lookup:
    """Looks prompts up in the logs of their users; an equal prompt is looked up once."""

    def __init__(
        self,
        sequences: UserSequences,
        split: SplitRows,
        early: np.ndarray,
        check: PromptCheck,
        names: Mapping[str, Sequence[Name]],
    ):
        self._sequences = sequences
        self._allowed = {"first_interactions": early, "training": early | split.training}
        self._training = split.training
        self._is_sample = split.parts != HISTORY_ONLY
        self._check = check
        self._names = names
        self._patterns = {
            name: re.compile(source.pattern) for name, source in check.sources.items()
        }
        self._numbers = {user: number for number, user in enumerate(sequences.users)}
        self._shown: dict[tuple[int, str | None, str, Seen], Shown] = {}

    def number(self, user: str) -> int | None:
        return self._numbers.get(user)

    def rows(self, user: int) -> slice:
        start = int(self._sequences.starts[user])
        return slice(start, start + int(self._sequences.counts[user]))

    def look_up(self, prompt: SeenPrompt, user: int) -> _Found:
        source = self._check.sources[prompt.source]
        rows = self.rows(user)
        allowed = self._allowed[source.seen][rows]
        key = (user, prompt.prompt, source.pattern, source.seen)
        if key not in self._shown:
            log = self._log(rows, allowed)
            pattern = self._patterns[prompt.source]
            self._shown[key] = resolve(prompt.prompt, pattern, self._check.wording, log)
        shown = self._shown[key]
        violated = np.zeros(len(allowed), dtype=bool)
        violated[list(shown.later)] = True
        violated[: prompt.recorded or 0] |= ~allowed[: prompt.recorded or 0]
        if shown.unresolved:
            beyond = max(0, shown.entries - int(allowed.sum()))
            violated[np.flatnonzero(~allowed)[:beyond]] = True
        violations = np.flatnonzero(violated & self._is_sample[rows]) + rows.start
        return _Found(
            shown=shown,
            violations=violations,
            reach=self._reach(shown, prompt.recorded or 0, rows),
            in_training=bool(self._training[violations].all()),
            source=source,
        )

    def _reach(self, shown: Shown, recorded: int, rows: slice) -> int:
        together = [*shown.rows, *shown.later]
        last = max(together, default=-1)
        if last < recorded:
            return recorded
        items = self._sequences.items_at(np.arange(rows.start, rows.start + last + 1))
        titled = [row for row, item in enumerate(items) if self._names.get(item)]
        return last + 1 if sorted(together) == titled else 0

    def _log(self, rows: slice, allowed: np.ndarray) -> UserLog:
        sequences = self._sequences
        items = sequences.items_at(np.arange(rows.start, rows.stop))
        rated = self._check.wording.rated
        return UserLog(
            names=[self._names.get(item, ()) for item in items],
            ratings=sequences.ratings[rows].tolist() if rated else None,
            liked=(sequences.labels[rows] == 1).tolist(),
            allowed=allowed.tolist(),
        )
