"""What a set of answers looks like: counts, lengths, shares of reasons, examples."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from configs.progress import progress
from preprocessing.answers.names import NameCounts, told_names
from preprocessing.answers.record import (
    LINKING_REASONS,
    QUALITY_REASONS,
    RECORD_REASONS,
    Answer,
)
from preprocessing.dead_letters import DeadLetter

_PERCENTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}
_EXAMPLES_PER_REASON = 3
_TOKENS = ("prompt_tokens", "completion_tokens")
_MEANINGS = {**RECORD_REASONS, **QUALITY_REASONS, **LINKING_REASONS}
_UNKNOWN_IDS = ("unknown_custom_id", "invalid_custom_id")


class AnswerSummary:
    """Counts examined answers, all together and those of each file.

    Args:
      paths: the files; one that is named twice is counted together.
      formats: name of each file's format.

    Attributes:
      names: names in the answers that list some, see `examine`.
    """

    def __init__(self, paths: Sequence[str], formats: Sequence[str]):
        self._formats = dict(zip(paths, formats, strict=True))
        self._accepted = dict.fromkeys(paths, 0)
        self._rejected = dict.fromkeys(paths, 0)
        self._reasons: Counter[str] = Counter()
        self._extractions: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._lengths = array("Q")
        self._without_prompt = 0
        self.names = NameCounts()
        self._examples: dict[str, list[dict[str, object]]] = {}

    def counted(self, outcomes: Iterable[Answer | DeadLetter]) -> Iterator[Answer | DeadLetter]:
        """Passes examined answers on and counts each; shows how many there were so far."""
        for outcome in progress(outcomes, unit=" answers"):
            if isinstance(outcome, Answer):
                self._accept(outcome)
            else:
                self._reject(outcome)
            yield outcome

    def _accept(self, answer: Answer) -> None:
        self._accepted[answer.location.file] += 1
        self._lengths.append(len(answer.text))
        self._extractions[answer.extraction] += 1
        self._models[answer.model or "unknown"] += 1
        self._without_prompt += answer.prompt is None
        for name in _TOKENS:
            tokens = (answer.usage or {}).get(name)
            if type(tokens) is int and tokens >= 0:
                self._tokens[name] += tokens

    def _reject(self, letter: DeadLetter) -> None:
        self._rejected[letter["file"]] += 1
        self._reasons[letter["reason"]] += 1
        examples = self._examples.setdefault(letter["reason"], [])
        if len(examples) < _EXAMPLES_PER_REASON:
            examples.append({name: letter[name] for name in ("file", "line", "detail")})

    def counts(self) -> dict[str, Any]:
        """`read`, `accepted`, `rejected` and `rejected_by_reason`; the first is their sum."""
        accepted, rejected = len(self._lengths), self._reasons.total()
        return {
            "read": accepted + rejected,
            "accepted": accepted,
            "rejected": rejected,
            "rejected_by_reason": dict(sorted(self._reasons.items())),
        }

    def quality(self) -> dict[str, Any]:
        """Shares of the reasons among all records, and what the accepted answers look like."""
        read = self.counts()["read"]
        return {
            "share_by_reason": {
                reason: round(count / read, 6) for reason, count in sorted(self._reasons.items())
            },
            "characters": self._describe_lengths(),
            "extractions": dict(sorted(self._extractions.items())),
            "models": dict(sorted(self._models.items())),
            "tokens": dict(self._tokens),
            "without_prompt": self._without_prompt,
            "names": self.names.as_dictionary() if self.names.lists else None,
        }

    def examples(self) -> dict[str, list[dict[str, object]]]:
        """Reason -> the first rejected records with it: file, line and detail."""
        return dict(sorted(self._examples.items()))

    def files(self) -> list[dict[str, object]]:
        """File, format, and the records read, accepted and rejected."""
        return [
            {
                "file": path,
                "format": form,
                "read": self._accepted[path] + self._rejected[path],
                "accepted": self._accepted[path],
                "rejected": self._rejected[path],
            }
            for path, form in self._formats.items()
        ]

    def _describe_lengths(self) -> dict[str, float] | None:
        if not self._lengths:
            return None
        lengths = np.frombuffer(self._lengths, dtype=np.uint64)
        points = np.percentile(lengths, list(_PERCENTILES.values()))
        return {
            "minimum": int(lengths.min()),
            **{
                name: round(float(point), 1)
                for name, point in zip(_PERCENTILES, points, strict=True)
            },
            "maximum": int(lengths.max()),
            "mean": round(float(lengths.mean()), 1),
        }


def summary_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """What a person wants to know about a set of answers."""
    quality = result["quality"]
    kinds = ", ".join(f"{count:,} {name}" for name, count in quality["extractions"].items())
    yield (
        f"{result['read']:,} answers read, {result['accepted']:,} accepted"
        f"{f' ({kinds})' if kinds else ''}, {result['rejected']:,} rejected"
    )
    for reason, count in sorted(result["rejected_by_reason"].items(), key=lambda item: -item[1]):
        share = quality["share_by_reason"][reason]
        yield f"  {count:>8,}  {share:>6.1%}  {reason}: {_MEANINGS[reason]}"
    if not result["accepted"] and any(
        name in result["rejected_by_reason"] for name in _UNKNOWN_IDS
    ):
        yield (
            "no custom_id says what its answer is about. If `generate --client batch-file` wrote "
            "the requests, read their results with the same `generate` command and --read-batch "
            "FILE: it named each request by a hash"
        )
    lengths = quality["characters"]
    if lengths:
        yield (
            f"characters: {lengths['minimum']:,} to {lengths['maximum']:,}, "
            f"median {lengths['median']:,.0f}, "
            f"90 % of them {lengths['p5']:,.0f} to {lengths['p95']:,.0f}"
        )
    if quality["names"] is not None:
        yield told_names(quality["names"])
    if quality["without_prompt"]:
        yield (
            f"{quality['without_prompt']:,} answers come without their prompt: the leak check "
            "cannot count what the LLM saw of a user"
        )
