"""Reading the TFRecord files of a folder for checks: damage becomes a finding, not an exception."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from preprocessing.checking.findings import Findings
from preprocessing.checking.record_rules import BrokenRule, Record, read_record
from preprocessing.inspection.schema import SchemaFeature
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import shard_files
from preprocessing.records.tfrecord_file import read_records

_DAMAGE = re.compile(r"(?:record \d+|file): (?P<problem>.*?)(?:; run .*)?$", re.DOTALL)


@dataclass(frozen=True)
class ShardReader:
    """Reads records, checks each by itself, and counts them.

    Attributes:
      schema: what records must hold.
      findings: where findings go.
    """

    schema: Mapping[str, SchemaFeature]
    findings: Findings

    def records(self, path: Path, name: str, expected: int | None) -> Iterator[tuple[int, Record]]:
        """Number and features of every sound record; ends at the first damage.

        Args:
          path: a GZIP TFRecord file.
          name: what findings call it.
          expected: records that the manifest counts; None if it does not say.
        """
        number = 0
        try:
            for number, serialized in enumerate(read_records(path), start=1):
                try:
                    yield number, read_record(serialized, self.schema)
                except BrokenRule as broken:
                    self.findings.error(broken.check, name, broken.message, number)
        except DamagedRecords as error:
            self.findings.error("damaged_file", name, _problem(error), number + 1)
            return
        if expected is not None and number != expected:
            self.findings.error(
                "wrong_record_count",
                name,
                f"holds {number:,} records, the manifest counts {expected:,}",
            )


def complete_shards(folder: Path, name: str, findings: Findings) -> list[Path]:
    """The TFRecord files of a folder, in order; those that are there when the set is not whole."""
    try:
        return shard_files(folder)
    except DamagedRecords as error:
        findings.error("incomplete_shards", name, str(error).removeprefix(f"{folder}: "), fix="")
        return sorted(folder.glob("part-*.tfrecord.gz"))


def _problem(error: DamagedRecords) -> str:
    found = _DAMAGE.search(str(error))
    return found["problem"] if found else str(error)
