"""Whether the counts of a manifest add up: nothing is lost and nothing is counted twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from preprocessing.checking.findings import REBUILD, Findings
from preprocessing.checking.manifests import section
from preprocessing.dead_letters import count_by_reason
from preprocessing.records.layout import StepDirectory

_IN, _OUT, _REJECTED, _FILTERED = "records_in", "records_out", "dead_letters", "filtered_out"
_REASONS = "rejected_by_reason"
_REJECTED_BY_FILE = "rejected"


class CountMismatch(Exception):
    """Two counts differ; the message names them."""


def check_counts(folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings) -> None:
    """Checks in = out + dead letters + filtered out wherever a manifest counts records.

    Args:
      folder: the step's folder.
      manifest: its manifest.
      name: what findings call the folder.
      findings: where they go.
    """
    file = f"{name}/{StepDirectory(folder).manifest.name}"
    rejected = 0
    for place, tree in _counted(section(manifest, "counts"), "counts"):
        try:
            rejected += _reconciled(place, tree)
        except CountMismatch as mismatch:
            findings.error("counts_do_not_add_up", file, str(mismatch))
            return
    letters = StepDirectory(folder).dead_letters
    if not letters.is_file():
        return
    try:
        by_file = count_by_reason(letters)
    except (ValueError, KeyError, TypeError) as error:
        findings.error("unreadable_dead_letters", f"{name}/{letters.name}", str(error))
        return
    listed = section(manifest, _REJECTED_BY_FILE)
    if listed:
        rejected = sum(sum(section(listed, file).values()) for file in listed)
    written = sum(sum(reasons.values()) for reasons in by_file.values())
    message = None
    if written != rejected:
        message = f"holds {written:,} dead letters, the manifest counts {rejected:,}"
    elif listed and by_file != listed:
        message = "holds dead letters of other files or reasons than the manifest counts"
    if message:
        findings.error("counts_do_not_add_up", f"{name}/{letters.name}", message, fix=REBUILD)


def require_equal(place: str, counted: int, other: str, expected: int) -> None:
    """Compares two counts.

    Raises:
      CountMismatch: they differ.
    """
    if counted != expected:
        raise CountMismatch(f"{place} is {counted:,}, {other} {expected:,}")


def _counted(tree: Mapping[str, Any], place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every level of the counts that reads records."""
    if _IN in tree:
        yield place, tree
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _counted(value, f"{place}.{name}")


def _reconciled(place: str, tree: Mapping[str, Any]) -> int:
    """The dead letters of one level.

    Raises:
      CountMismatch: the level does not add up.
    """
    try:
        rejected = int(tree[_REJECTED])
        filtered = tree.get(_FILTERED, 0)
        filtered = sum(filtered.values()) if isinstance(filtered, Mapping) else int(filtered)
        accounted = int(tree[_OUT]) + rejected + filtered
        read, by_reason = int(tree[_IN]), sum(tree.get(_REASONS, {}).values())
    except (KeyError, TypeError, ValueError) as error:
        raise CountMismatch(f"{place} has no whole set of counts ({error})") from error
    require_equal(f"{place}.{_IN}", read, "records out, rejected and filtered out are", accounted)
    if _REASONS in tree:
        require_equal(f"{place}.{_REJECTED}", rejected, "the reasons add up to", by_reason)
    return rejected
