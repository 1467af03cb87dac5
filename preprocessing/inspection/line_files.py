"""Files of lines: answers, prompts, dead letters, vocabularies."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from configs.command_line import CommandError
from preprocessing.importing.detection import detect_format
from preprocessing.importing.examining import examine
from preprocessing.importing.foreign_record import Expected
from preprocessing.inputs import bounded_lines
from preprocessing.inspection.values import cut
from preprocessing.knowledge.answers import Answer
from preprocessing.quality.thresholds import Thresholds
from preprocessing.records.vocabularies import read_vocabulary

_LONGEST_ANSWER = 600
_MOST_NAMES = 50


def view_vocabulary(path: Path, records: int) -> dict[str, Any]:
    """Number of values, and the most frequent ones, which stand first.

    Raises:
      DamagedRecords: it is cut off or names a value twice.
    """
    values = read_vocabulary(path)
    return {
        "values": len(values),
        "first": [cut(value) for value in values[:records]],
        "last": [cut(value) for value in values[-records:]],
    }


def view_dead_letters(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Counts by file and reason, and the first ones."""
    letters = list(itertools.islice(_objects(path), limit))
    counts: dict[str, Counter[str]] = {}
    for letter in letters:
        counts.setdefault(str(letter.get("file")), Counter())[str(letter.get("reason"))] += 1
    return {
        "lines_read": len(letters),
        "by_reason": {
            file: dict(reasons.most_common()) for file, reasons in sorted(counts.items())
        },
        "records": letters[:records],
    }


def view_answers(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Answers of any format that `import` reads, and what it would say of them.

    Raises:
      CommandError: the file has none of these formats.
    """
    form = detect_format(str(path))
    examined = examine([str(path)], [form], Expected(), Thresholds())
    texts = _Texts(records)
    rejected: Counter[str] = Counter()
    for record in itertools.islice(examined, limit):
        if isinstance(record.outcome, Answer):
            texts.add(record.outcome.record(), record.outcome.text)
        else:
            rejected[record.outcome.reason] += 1
    return {
        "format": form,
        **texts.view("answer_characters"),
        "rejected_by_reason": dict(rejected.most_common()),
    }


def view_prompts(path: Path, records: int, limit: int) -> dict[str, Any]:
    """Sources and lengths of prompts, and the first ones."""
    texts = _Texts(records)
    for record in itertools.islice(_objects(path), limit):
        texts.add(record, str(record.get("prompt") or ""))
    return texts.view("prompt_characters")


class _Texts:
    """Counts records with a text each.

    Args:
      records: how many are shown.
    """

    def __init__(self, records: int):
        self._records = records
        self._shown: list[dict[str, Any]] = []
        self._sources: Counter[str] = Counter()
        self._models: Counter[str] = Counter()
        self._lengths: list[int] = []

    def add(self, record: dict[str, Any], text: str) -> None:
        """Counts one record."""
        self._sources[f"{record.get('source')}, {record.get('extraction')}"] += 1
        self._models[str(record.get("model"))] += 1
        self._lengths.append(len(text))
        if len(self._shown) < self._records:
            shown = {
                name: cut(value, _LONGEST_ANSWER) if isinstance(value, str) else value
                for name, value in record.items()
            }
            self._shown.append(shown)

    def view(self, lengths_name: str) -> dict[str, Any]:
        """Counts, lengths and the first records."""
        lengths = self._lengths
        return {
            "records_read": len(lengths),
            "sources": dict(self._sources.most_common(_MOST_NAMES)),
            "models": dict(self._models.most_common(_MOST_NAMES)),
            lengths_name: {
                "minimum": min(lengths),
                "median": float(np.median(lengths)),
                "maximum": max(lengths),
            }
            if lengths
            else {},
            "records": self._shown,
        }


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a file, one a line."""
    for number, line in enumerate(bounded_lines(path), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise CommandError(f"{path}: line {number}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise CommandError(f"{path}: line {number}: JSON, but not an object")
        yield record
