"""What a check found, and checks of manifests: files as written, counts that add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from configs.files import file_sha256
from preprocessing.dead_letters import count_by_reason
from preprocessing.records.item_tables import read_vocabulary
from preprocessing.records.layout import ExamplesDirectory, StepDirectory, shard_name

_KEPT_PER_PLACE = 5

REBUILD = "run the step again with --force"
"""What helps when a file is not what the step wrote."""


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """One finding.

    Attributes:
      severity: error: the data must not be used; warning: it may be meant; note: to know.
      check: a fixed name that can be counted.
      file: the file, relative to the folder that is checked.
      record: number of the record or line, counted from 1; None for the whole file.
      message: what is wrong.
      fix: what to do; "" when there is nothing to do.
    """

    severity: Severity
    check: str
    file: str
    record: int | None
    message: str
    fix: str

    def as_dictionary(self) -> dict[str, object]:
        """The finding as JSON."""
        return {**asdict(self), "severity": self.severity.value}

    def line(self) -> str:
        """The finding for people."""
        location = self.file if self.record is None else f"{self.file}: record {self.record}"
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.severity}: {location}: {self.message}{fix}"


class Findings:
    """Collects findings; of one kind in one file the first ones are kept and all are counted."""

    def __init__(self) -> None:
        self._kept: list[Finding] = []
        self._counts: Counter[tuple[Severity, str, str]] = Counter()

    def error(
        self, check: str, file: str, message: str, record: int | None = None, fix: str = REBUILD
    ) -> None:
        """Adds an error."""
        self._add(Finding(Severity.ERROR, check, file, record, message, fix))

    def warning(self, check: str, file: str, message: str, fix: str) -> None:
        """Adds a warning."""
        self._add(Finding(Severity.WARNING, check, file, None, message, fix))

    def note(self, check: str, file: str, message: str) -> None:
        """Adds a note."""
        self._add(Finding(Severity.NOTE, check, file, None, message, ""))

    def count(self, severity: Severity) -> int:
        """How many there are, those that were not kept too."""
        return sum(count for (counted, _, _), count in self._counts.items() if counted is severity)

    def by_check(self) -> dict[str, int]:
        """Check -> errors and warnings."""
        counts: Counter[str] = Counter()
        for (severity, check, _), count in self._counts.items():
            if severity is not Severity.NOTE:
                counts[check] += count
        return dict(sorted(counts.items()))

    def kept(self) -> list[Finding]:
        """The findings that were kept, errors first."""
        order = list(Severity)
        return sorted(self._kept, key=lambda finding: order.index(finding.severity))

    def not_kept(self) -> int:
        """How many more there are."""
        return self._counts.total() - len(self._kept)

    def _add(self, finding: Finding) -> None:
        kind = (finding.severity, finding.check, finding.file)
        self._counts[kind] += 1
        if self._counts[kind] <= _KEPT_PER_PLACE:
            self._kept.append(finding)


@dataclass(frozen=True)
class CheckedStep:
    """A finished step that is checked.

    Attributes:
      folder: its folder.
      manifest: its manifest.
      name: what findings call the folder.
      findings: where they go.
    """

    folder: Path
    manifest: Mapping[str, Any]
    name: str
    findings: Findings
    _vocabularies: dict[str, frozenset[bytes]] = field(default_factory=dict)

    @property
    def manifest_name(self) -> str:
        """What findings call the manifest."""
        return f"{self.name}/{StepDirectory(self.folder).manifest.name}"

    @property
    def counts(self) -> Mapping[str, Any]:
        """What the manifest counts."""
        return section(self.manifest, "counts")

    def vocabulary(self, name: str) -> frozenset[bytes]:
        """The values of a vocabulary of examples as records hold them; read once.

        Raises:
          DamagedRecords: the file is missing, cut off, or names a value twice.
        """
        if name not in self._vocabularies:
            values = read_vocabulary(ExamplesDirectory(self.folder).vocabulary(name))
            self._vocabularies[name] = frozenset(value.encode() for value in values)
        return self._vocabularies[name]


def section(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of a manifest that holds names and values; empty if there is none."""
    value = manifest.get(name)
    return value if isinstance(value, Mapping) else {}


def number(tree: Mapping[str, Any], name: str) -> int | None:
    """A whole number; None if there is none."""
    value = tree.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def records_of_shard(manifest: Mapping[str, Any], file: str, *names: str) -> int | None:
    """Records of one TFRecord file; None if the manifest does not say.

    Args:
      manifest: says it under "shards", one entry per shard number.
      file: the file's name, without its folder.
      names: where the number stands in the shard's entry.
    """
    shards = manifest.get("shards")
    entries = shards if isinstance(shards, list) else []
    for index, entry in enumerate(entries):
        if file == shard_name(index, len(entries)) and isinstance(entry, Mapping):
            for name in names[:-1]:
                entry = section(entry, name)
            return number(entry, names[-1])
    return None


_IN, _OUT, _REJECTED, _FILTERED = "records_in", "records_out", "dead_letters", "filtered_out"
_REASONS = "rejected_by_reason"
_REJECTED_BY_FILE = "rejected"


class CountMismatch(Exception):
    """Two counts differ; the message names them."""


def check_counts(step: CheckedStep) -> None:
    """Checks in = out + dead letters + filtered out wherever a manifest counts records."""
    name, findings = step.name, step.findings
    rejected = 0
    for key, tree in _counted(step.counts, "counts"):
        try:
            rejected += _reconciled(key, tree)
        except CountMismatch as mismatch:
            findings.error("counts_do_not_add_up", step.manifest_name, str(mismatch))
            return
    letters = StepDirectory(step.folder).dead_letters
    if not letters.is_file():
        return
    try:
        by_file = count_by_reason(letters)
    except (ValueError, KeyError, TypeError) as error:
        findings.error("unreadable_dead_letters", f"{name}/{letters.name}", str(error))
        return
    listed = section(step.manifest, _REJECTED_BY_FILE)
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


def require_equal(key: str, counted: int, other: str, expected: int) -> None:
    """Compares two counts.

    Raises:
      CountMismatch: they differ.
    """
    if counted != expected:
        raise CountMismatch(f"{key} is {counted:,}, {other} {expected:,}")


def _counted(tree: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every level of the counts that reads records."""
    if _IN in tree:
        yield key, tree
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _counted(value, f"{key}.{name}")


def _reconciled(key: str, tree: Mapping[str, Any]) -> int:
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
        raise CountMismatch(f"{key} has no whole set of counts ({error})") from error
    require_equal(f"{key}.{_IN}", read, "records out, rejected and filtered out are", accounted)
    if _REASONS in tree:
        require_equal(f"{key}.{_REJECTED}", rejected, "the reasons add up to", by_reason)
    return rejected


def check_files(step: CheckedStep) -> None:
    """Compares names, sizes and checksums."""
    name, findings = step.name, step.findings
    listed = step.manifest["files"]
    present = {
        path.relative_to(step.folder).as_posix(): path
        for path in sorted(step.folder.rglob("*"))
        if path.is_file() and path != StepDirectory(step.folder).manifest
    }
    for file in sorted(listed.keys() - present.keys()):
        findings.error("missing_file", f"{name}/{file}", "the manifest lists it, it is not there")
    for file in sorted(present.keys() - listed.keys()):
        findings.error(
            "extra_file",
            f"{name}/{file}",
            "the manifest does not list it",
            fix="remove it, or run the step again with --force",
        )
    for file in sorted(listed.keys() & present.keys()):
        size, expected = present[file].stat().st_size, listed[file]["bytes"]
        if size != expected:
            findings.error(
                "wrong_size",
                f"{name}/{file}",
                f"has {size:,} bytes, the manifest says {expected:,}",
            )
        elif file_sha256(present[file]) != listed[file]["sha256"]:
            findings.error(
                "wrong_checksum", f"{name}/{file}", "its SHA-256 is not the one in the manifest"
            )
