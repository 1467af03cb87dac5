"""Counts of examples: shards, parts and kinds add up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocessing.checking.counts import CountMismatch, require_equal
from preprocessing.checking.findings import Findings
from preprocessing.checking.manifests import number, section
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import StepDirectory


def check_example_counts(
    folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings
) -> None:
    """Compares the counts of a manifest with each other.

    Args:
      folder: the step's folder.
      manifest: its manifest.
      name: what findings call the folder.
      findings: where they go.
    """
    try:
        _add_up(manifest)
    except CountMismatch as mismatch:
        file = f"{name}/{StepDirectory(folder).manifest.name}"
        findings.error("counts_do_not_add_up", file, str(mismatch))


def _add_up(manifest: Mapping[str, Any]) -> None:
    """Raises CountMismatch when a total is not the sum of its parts."""
    counts = section(manifest, "counts")
    samples = _number(counts, "samples")
    parts = section(counts, "parts")
    require_equal(
        "counts.samples",
        samples,
        "its parts add up to",
        sum(_number(parts, part) for part in PARTS),
    )
    require_equal(
        "counts.records_out",
        _number(counts, "records_out"),
        "samples that were not sampled and history_only add up to",
        samples - _number(counts, "sampled_negatives") + _number(counts, "history_only"),
    )
    shards = manifest.get("shards")
    listed = shards if isinstance(shards, list) else []
    entries = [entry for entry in listed if isinstance(entry, Mapping)]
    for kind, by_part in section(counts, "examples").items():
        for part in PARTS:
            in_shards = sum(
                number(section(section(entry, "examples"), kind), part) or 0 for entry in entries
            )
            require_equal(
                f"counts.examples.{kind}.{part}",
                _number(by_part if isinstance(by_part, Mapping) else {}, part),
                "the shards add up to",
                in_shards,
            )


def _number(tree: Mapping[str, Any], name: str) -> int:
    found = number(tree, name)
    if found is None:
        raise CountMismatch(f"there is no whole number '{name}' where one belongs")
    return found
