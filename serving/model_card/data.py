"""What a model was trained on, as the examples' manifest and files say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs.scenario import Scenario
from preprocessing.records.contract import CTR, EXAMPLE_FEATURES, PARTS, TIMESTAMP
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset

_MOST_DATED = 300_000
"""Examples of a part that are read for its dates."""

_READ_BATCH = 8192
_LICENCE_NAMES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "LICENCE.md", "LICENCE.txt")


def data_facts(scenario: Scenario, kind: str) -> dict[str, Any]:
    """Counts, split, dates and licence of the data; None for what is not known.

    `split` has the configured fractions, where these decide, and the true share of every part.

    Args:
      scenario: the run's.
      kind: of the model, and so of its examples.

    Raises:
      preprocessing.records.errors.DamagedRecords: a file of examples is missing or damaged.
    """
    manifest = WorkDirectory(scenario.work_dir).examples.manifest
    counts = json.loads(manifest.read_text(encoding="utf-8"))["counts"]
    examples = counts["examples"][kind]
    return {
        "scenario": scenario.name,
        "files": list(scenario.data.interactions.paths),
        "users": counts.get("users"),
        "items": counts.get("items"),
        "interactions": counts.get("records_out"),
        "training_interactions": counts.get("training_interactions"),
        "rejected_interactions": counts.get("dead_letters"),
        "examples": examples,
        "positives": counts.get("positives") if kind == CTR else None,
        "sampled_negatives": counts.get("sampled_negatives") if kind == CTR else None,
        "split": {
            "by": scenario.split.by,
            "fractions": None if scenario.split.by == "column" else list(scenario.split.fractions),
            "shares": _shares(examples),
            "knowledge_history_cap": scenario.split.knowledge_history_cap,
        },
        "dates": {part: _dates(scenario, kind, part, examples.get(part, 0)) for part in PARTS},
        "leak_violations": counts.get("leak_violations"),
        "leak_check": counts.get("leak_check"),
        "licence": _licence(Path(scenario.data.interactions.paths[0]).parent),
    }


def _shares(examples: Mapping[str, int]) -> dict[str, float] | None:
    """Part -> its true share of all examples; None where there are none."""
    total = sum(examples.values())
    return {part: count / total for part, count in examples.items()} if total else None


def _dates(scenario: Scenario, kind: str, part: str, examples: int) -> dict[str, str] | None:
    """Days of the first and last sample; None without times, and for parts too large to read."""
    if not 0 < examples <= _MOST_DATED:
        return None
    (feature,) = [feature for feature in EXAMPLE_FEATURES if feature.name == TIMESTAMP]
    files = WorkDirectory(scenario.work_dir).examples.shards(part, kind)
    times = [
        (int(batch[TIMESTAMP].numpy().min()), int(batch[TIMESTAMP].numpy().max()))
        for batch in example_dataset(files, _READ_BATCH, [feature])
    ]
    first, last = min(low for low, _ in times), max(high for _, high in times)
    return {"first": _day(first), "last": _day(last)} if last else None


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _licence(folder: Path) -> dict[str, str] | None:
    """A licence file beside the interactions: its name and its first line."""
    for name in _LICENCE_NAMES:
        path = folder / name
        if path.is_file():
            text = path.read_text(encoding="utf-8", errors="replace")
            lines = [line.strip("# ").strip() for line in text.splitlines()]
            return {"file": str(path), "begins": next(filter(None, lines), "")}
    return None
