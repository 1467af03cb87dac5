"""What a check found: where, how bad, and what to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum

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
        place = self.file if self.record is None else f"{self.file}: record {self.record}"
        fix = f"; {self.fix}" if self.fix else ""
        return f"{self.severity}: {place}: {self.message}{fix}"


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
        return sum(count for (found, _, _), count in self._counts.items() if found is severity)

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
        place = (finding.severity, finding.check, finding.file)
        self._counts[place] += 1
        if self._counts[place] <= _KEPT_PER_PLACE:
            self._kept.append(finding)
