"""What the examples of one user must be together: parts in order, and the leak rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from configs.knowledge import SourceAnswers
from preprocessing.hashing import anonymous
from preprocessing.inspection.findings import CheckedStep, number, section
from preprocessing.inspection.record_checks import Record
from preprocessing.interactions.leak_check import (
    PROMPT_CHECK,
    PromptCheck,
    SeenPrompt,
    check_leaks,
    digest_seen_prompts,
    read_seen_prompts,
)
from preprocessing.interactions.sequences import (
    HISTORY_ONLY,
    SplitRows,
    UserSequences,
    knowledge_boundaries,
)
from preprocessing.interactions.shown_entries import Name
from preprocessing.records import contract
from preprocessing.records.contract import PARTS
from preprocessing.records.item_tables import FIXED_COLUMNS
from preprocessing.records.layout import SETTINGS, ExamplesDirectory

_VIOLATIONS = "leak_violations"


def check_leak_counts(step: CheckedStep) -> None:
    """The number of violations must be 0; sources that nobody could verify are named."""
    file, counts, findings = step.manifest_name, step.counts, step.findings
    violations = number(counts, _VIOLATIONS)
    if violations is None:
        findings.error("leak_rule", file, f"counts no '{_VIOLATIONS}'")
    elif violations:
        findings.error(
            "leak_rule",
            file,
            f"{violations:,} samples were shown to the LLM",
            fix="run 'python -m preprocessing examples' again, which says why",
        )
    unverified = section(counts, "leak_check").get("unverified_sources")
    for source in unverified if isinstance(unverified, list) else ():
        findings.note(
            "unverified_source",
            file,
            f"source '{source}': nothing shows that the LLM saw interactions before k_u only",
        )
    declared = section(section(counts, "leak_check"), "declared_sources")
    for source, seen in declared.items():
        if seen == "training":
            findings.note(
                "declared_source",
                file,
                f"source '{source}': declared to be made from the training part (seen: training)",
            )


@dataclass
class PromptsOfExamples:
    """Looks up what prompts show in the users' logs as the `ctr` examples of a folder hold them.

    A log is pieced together from samples and histories. Where the histories are too short to reach
    back to a user's first interaction, the user is left out.

    Attributes:
      check: how prompts are looked up.
      names: item id -> what prompts may call it.
      seen: user -> the prompts about the user.
      settings: of the manifest.
    """

    check: PromptCheck
    names: Mapping[str, list[Name]]
    seen: Mapping[str, list[SeenPrompt]]
    settings: Mapping[str, Any]
    _logs: dict[str, dict[int, tuple[str, float, bool | None, int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, step: CheckedStep) -> PromptsOfExamples | None:
        """Reads the prompts that the examples were checked with; None if there are none.

        Warns of answers that are not at hand any more, or have changed.
        """
        described = dict(section(step.manifest, PROMPT_CHECK))
        answers = described.pop("answers", {})
        if not answers:
            return None
        check = PromptCheck.model_validate(described)
        digests = section(step.manifest, "seen_interactions")
        seen: dict[str, list[SeenPrompt]] = {}
        for source, files in answers.items():
            source_answers = SourceAnswers(entity="user", **files)
            missing = [path for path in files["individual"] if not Path(path).is_file()]
            if missing:
                problem = f"{missing[0]} is not at hand"
            elif digest_seen_prompts({source: source_answers}, [source]) != {
                source: digests.get(source)
            }:
                problem = "its answers have changed"
            else:
                for batch in read_seen_prompts(source, source_answers):
                    for prompt in batch:
                        seen.setdefault(prompt.user, []).append(prompt)
                continue
            step.findings.warning(
                "prompts_not_checked",
                step.manifest_name,
                f"source '{source}': {problem}, so what its prompts show was not looked up again",
                fix="run 'python -m preprocessing examples' again, with the answers in place",
            )
        items = pq.read_table(ExamplesDirectory(step.folder).item_attributes)
        attributes = [column for column in items.column_names if column not in FIXED_COLUMNS]
        settings = section(step.manifest, SETTINGS)
        return cls(check, check.wording.names(items, attributes), seen, settings)

    def add(self, record: Record, part: int) -> None:
        """Takes in one sample and the history before it."""
        user = record[contract.USER_ID][0].decode("utf-8", "replace")
        if user not in self.seen:
            return
        log = self._logs.setdefault(user, {})
        position = record[contract.POSITION][0]
        history = record.get(contract.HISTORY_ITEM_ID, ())
        ratings = record.get(contract.HISTORY_RATING, ())
        for earlier, (item, rating) in enumerate(
            zip(history, ratings, strict=True), start=position - len(history)
        ):
            log.setdefault(earlier, (item.decode("utf-8", "replace"), rating, None, HISTORY_ONLY))
        label, rating = record[contract.LABEL][0], record[contract.RATING][0]
        if label or rating or not self.settings.get("data.negatives.per_positive"):
            item = record[contract.ITEM_ID][0].decode("utf-8", "replace")
            log[position] = (item, rating, bool(label), part)

    def problems(self) -> list[str]:
        """What the prompts about the users added so far show and must not; forgets the users."""
        whole = {user: log for user, log in self._logs.items() if len(log) == max(log) + 1}
        self._logs = {}
        sequences, split = _log_of(whole, self.settings, self.check.wording.rated)
        seen = [prompt for user in whole for prompt in self.seen[user]]
        leaks = check_leaks(sequences, split, seen, self.check, self.names)
        return [f"a prompt showed a sample: {example}" for example in leaks.examples]


def _log_of(
    logs: Mapping[str, Mapping[int, tuple[str, float, bool | None, int]]],
    settings: Mapping[str, Any],
    rated: bool,
) -> tuple[UserSequences, SplitRows]:
    """Sequences and split of some users' logs: position -> item, rating, label, part."""
    rows = [logs[user][position] for user in logs for position in range(len(logs[user]))]
    counts = np.array([len(log) for log in logs.values()], dtype=np.int64)
    user_of_row = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    item_ids = sorted({item for item, *_ in rows})
    numbers = {item: number for number, item in enumerate(item_ids)}
    threshold = float(settings.get("data.positive_rating") or 0) if rated else 1.0
    parts = np.array([part for *_, part in rows], dtype=np.int8)
    zeros = np.zeros(len(rows), dtype=np.int64)
    sequences = UserSequences(
        users=list(logs),
        item_ids=item_ids,
        item_of_row=np.array([numbers[item] for item, *_ in rows], dtype=np.int64),
        ratings=np.array([rating for _, rating, *_ in rows], dtype=np.float64),
        labels=np.array(
            [rating >= threshold if label is None else label for _, rating, label, _ in rows],
            dtype=np.int8,
        ),
        timestamps=zeros,
        given_parts=zeros - 1,
        extra_labels=zeros,
        user_of_row=user_of_row,
        starts=starts,
        counts=counts,
        positions=np.arange(len(rows)) - starts[user_of_row],
    )
    boundaries = knowledge_boundaries(counts, int(settings["split.knowledge_history_cap"]))
    return sequences, SplitRows(boundaries, parts, parts == contract.PARTS.index("train"))


_FAR = 1 << 62


@dataclass
class PartTimes:
    """First and last time of each part."""

    _first: list[int] = field(default_factory=lambda: [_FAR] * len(PARTS))
    _last: list[int] = field(default_factory=lambda: [-_FAR] * len(PARTS))

    def add(self, part: int, time: int) -> None:
        """Takes in one example of a part, given by its index in PARTS."""
        self._first[part] = min(self._first[part], time)
        self._last[part] = max(self._last[part], time)

    def problems(self) -> Iterator[str]:
        """Parts that begin before an earlier one has ended."""
        present = [part for part in range(len(PARTS)) if self._last[part] > -_FAR]
        for part, following in zip(present, present[1:], strict=False):
            if self._last[part] >= self._first[following]:
                yield (
                    f"{PARTS[part]} ends at time {self._last[part]}, {PARTS[following]} begins at "
                    f"{self._first[following]}"
                )


@dataclass
class _Range:
    """Smallest and largest position and time of a user's examples in one part."""

    first_position: int = _FAR
    last_position: int = -_FAR
    first_time: int = _FAR
    last_time: int = -_FAR

    def add(self, position: int, time: int) -> None:
        """Takes in one example."""
        self.first_position = min(self.first_position, position)
        self.last_position = max(self.last_position, position)
        self.first_time = min(self.first_time, time)
        self.last_time = max(self.last_time, time)


@dataclass
class UserRanges:
    """The users of some shards.

    Attributes:
      split_by: `split.by` of the settings.
      cap: `split.knowledge_history_cap` of the settings.
      ordered_by_time: False when the log has an order column: a user's interactions then follow
        each other whatever their times.
    """

    split_by: str
    cap: int
    ordered_by_time: bool = True
    _users: dict[bytes, list[_Range]] = field(default_factory=dict)

    def add(self, user: bytes, part: int, position: int, time: int) -> None:
        """Takes in one example of a part, given by its index in PARTS."""
        ranges = self._users.get(user)
        if ranges is None:
            ranges = self._users[user] = [_Range() for _ in PARTS]
        ranges[part].add(position, time)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Check and message of everything that is wrong, with hashed user ids."""
        for user, ranges in self._users.items():
            name = f"user {anonymous(user.decode('utf-8', 'replace'))}"
            present = [
                (part, part_range)
                for part, part_range in zip(PARTS, ranges, strict=True)
                if part_range.last_position >= 0
            ]
            yield from self._leaks(name, [part_range for _, part_range in present])
            yield from self._order(name, present)

    def _leaks(self, name: str, ranges: list[_Range]) -> Iterator[tuple[str, str]]:
        """A user's last sample is the last interaction, so n_u and k_u follow from positions."""
        interactions = max(part_range.last_position for part_range in ranges) + 1
        boundary = min((interactions + 1) // 2, self.cap)
        first = min(part_range.first_position for part_range in ranges)
        if first < boundary:
            yield (
                "leak_rule",
                f"{name}: an example at position {first}, but of {interactions} interactions the "
                f"LLM may have seen the first {boundary}",
            )

    def _order(self, name: str, present: list[tuple[str, _Range]]) -> Iterator[tuple[str, str]]:
        if self.split_by == "user" and len(present) > 1:
            parts = " and ".join(part for part, _ in present)
            yield "user_in_two_parts", f"{name}: has examples in {parts}"
        if self.split_by != "time":
            return
        for (part, earlier), (next_part, later) in zip(present, present[1:], strict=False):
            if earlier.last_position >= later.first_position:
                yield (
                    "parts_out_of_order",
                    f"{name}: position {earlier.last_position} is in {part}, the earlier or equal "
                    f"position {later.first_position} in {next_part}",
                )
            elif self.ordered_by_time and earlier.last_time > later.first_time:
                yield (
                    "parts_out_of_order",
                    f"{name}: time {earlier.last_time} is in {part}, the earlier time "
                    f"{later.first_time} in {next_part}",
                )
