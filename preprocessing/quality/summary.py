"""What a set of answers looks like: counts, lengths, shares of reasons, examples."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np

from preprocessing.knowledge.answers import Answer, RejectedAnswer
from preprocessing.quality.duplicates import Place

_PERCENTILES = {"p5": 5, "p25": 25, "median": 50, "p75": 75, "p95": 95}
_EXAMPLES_PER_REASON = 3
_TOKENS = ("prompt_tokens", "completion_tokens")


class QualitySummary:
    """Counts answers one by one."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._extractions: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._lengths = array("Q")
        self._without_prompt = 0
        self._examples: dict[str, list[dict[str, object]]] = {}

    def accept(self, answer: Answer) -> None:
        """Counts an accepted answer."""
        self._lengths.append(len(answer.text))
        self._extractions[answer.extraction] += 1
        self._models[answer.model or "unknown"] += 1
        self._without_prompt += answer.prompt is None
        for name in _TOKENS:
            tokens = (answer.usage or {}).get(name)
            if type(tokens) is int and tokens >= 0:
                self._tokens[name] += tokens

    def reject(self, place: Place, rejection: RejectedAnswer) -> None:
        """Counts a rejected record."""
        self._reasons[rejection.reason] += 1
        examples = self._examples.setdefault(rejection.reason, [])
        if len(examples) < _EXAMPLES_PER_REASON:
            examples.append({**place._asdict(), "detail": rejection.detail})

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
        }

    def examples(self) -> dict[str, list[dict[str, object]]]:
        """Reason -> the first rejected records with it: file, line and detail."""
        return dict(sorted(self._examples.items()))

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
