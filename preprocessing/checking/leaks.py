"""The leak rule: what the step `examples` found, and what prompts show once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from configs.knowledge import SourceAnswers
from preprocessing.checking.findings import Findings
from preprocessing.checking.manifests import number, section
from preprocessing.checking.record_rules import Record
from preprocessing.interactions.leak_check import PROMPT_CHECK, PromptCheck, check_leaks
from preprocessing.interactions.seen_prompts import (
    SeenPrompt,
    digest_seen_prompts,
    read_seen_prompts,
)
from preprocessing.interactions.sequences import UserSequences
from preprocessing.interactions.shown_entries import Name
from preprocessing.interactions.splitting import HISTORY_ONLY, SplitRows, knowledge_boundaries
from preprocessing.records import contract
from preprocessing.records.item_attributes import FIXED_COLUMNS
from preprocessing.records.layout import ExamplesDirectory, StepDirectory
from preprocessing.records.settings import SETTINGS

_VIOLATIONS = "leak_violations"


def check_leak_counts(
    folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings
) -> None:
    """The number of violations must be 0; sources that nobody could verify are named.

    Args:
      folder: the step's folder.
      manifest: its manifest.
      name: what findings call the folder.
      findings: where they go.
    """
    file = f"{name}/{StepDirectory(folder).manifest.name}"
    counts = section(manifest, "counts")
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
    def of(
        cls, folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings
    ) -> PromptsOfExamples | None:
        """Reads the prompts that the examples were checked with; None if there are none.

        Args:
          folder: the folder of the examples.
          manifest: its manifest.
          name: what findings call the folder.
          findings: take a warning about answers that are not at hand any more, or have changed.
        """
        described = dict(section(manifest, PROMPT_CHECK))
        answers = described.pop("answers", {})
        if not answers:
            return None
        check = PromptCheck.model_validate(described)
        digests = section(manifest, "seen_interactions")
        seen: dict[str, list[SeenPrompt]] = {}
        for source, files in answers.items():
            source_answers = SourceAnswers(entity="user", **files)
            missing = [path for path in files["individual"] if not Path(path).is_file()]
            if missing:
                found = f"{missing[0]} is not at hand"
            elif digest_seen_prompts({source: source_answers}, [source]) != {
                source: digests.get(source)
            }:
                found = "its answers have changed"
            else:
                for batch in read_seen_prompts(source, source_answers):
                    for prompt in batch:
                        seen.setdefault(prompt.user, []).append(prompt)
                continue
            findings.warning(
                "prompts_not_checked",
                f"{name}/{StepDirectory(folder).manifest.name}",
                f"source '{source}': {found}, so what its prompts show was not looked up again",
                fix="run 'python -m preprocessing examples' again, with the answers in place",
            )
        items = pq.read_table(ExamplesDirectory(folder).item_attributes)
        attributes = [column for column in items.column_names if column not in FIXED_COLUMNS]
        return cls(check, check.wording.names(items, attributes), seen, section(manifest, SETTINGS))

    def add(self, record: Record, part: int) -> None:
        """Takes in one sample and the history before it."""
        user = record[contract.USER_ID][0].decode("utf-8", "replace")
        if user not in self.seen:
            return
        log = self._logs.setdefault(user, {})
        position = record[contract.POSITION][0]
        history = record.get(contract.HISTORY_ITEM_ID, ())
        ratings = record.get(contract.HISTORY_RATING, ())
        for place, (item, rating) in enumerate(
            zip(history, ratings, strict=True), start=position - len(history)
        ):
            log.setdefault(place, (item.decode("utf-8", "replace"), rating, None, HISTORY_ONLY))
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
        found = check_leaks(sequences, split, seen, self.check, self.names)
        return [f"a prompt showed a sample: {example}" for example in found.examples]


def _log_of(
    logs: Mapping[str, Mapping[int, tuple[str, float, bool | None, int]]],
    settings: Mapping[str, Any],
    rated: bool,
) -> tuple[UserSequences, SplitRows]:
    """Sequences and split of some users' logs: position -> item, rating, label, part."""
    rows = [logs[user][place] for user in logs for place in range(len(logs[user]))]
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
