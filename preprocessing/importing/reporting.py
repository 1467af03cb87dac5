"""Counts of the files, and the summary as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from preprocessing.importing.examining import Examined
from preprocessing.knowledge.answers import Answer
from preprocessing.knowledge.reasons import QUALITY_REASONS, RECORD_REASONS

_MEANINGS = {**RECORD_REASONS, **QUALITY_REASONS}
_UNKNOWN_IDS = ("unknown_custom_id", "invalid_custom_id")


class FileCounts:
    """Counts the records of every file.

    Args:
      paths: the files; one that is named twice is counted together.
      formats: name of each file's format.
    """

    def __init__(self, paths: Sequence[str], formats: Sequence[str]):
        self._accepted = dict.fromkeys(paths, 0)
        self._rejected = dict.fromkeys(paths, 0)
        self._formats = dict(zip(paths, formats, strict=True))

    def add(self, examined: Examined) -> None:
        """Counts a record."""
        accepted = isinstance(examined.outcome, Answer)
        (self._accepted if accepted else self._rejected)[examined.place.file] += 1

    def entries(self) -> list[dict[str, object]]:
        """File, format, and the records read, accepted and rejected."""
        return [
            {
                "file": path,
                "format": self._formats[path],
                "read": self._accepted[path] + self._rejected[path],
                "accepted": self._accepted[path],
                "rejected": self._rejected[path],
            }
            for path in self._formats
        ]


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
    if quality["without_prompt"]:
        yield (
            f"{quality['without_prompt']:,} answers come without their prompt: the leak check "
            "cannot count what the LLM saw of a user"
        )
