"""Which ids of the examples the vocabularies know, and which have knowledge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.raw_data import Data
from preprocessing.checking.findings import Findings
from preprocessing.checking.manifests import section
from preprocessing.records.contract import PARTS
from preprocessing.records.coverage import IdCoverage
from preprocessing.records.settings import SETTINGS
from preprocessing.records.vocabularies import read_vocabulary

_WARN_BELOW: float = Data.model_fields["warn_coverage_below"].default


@dataclass
class Coverage:
    """Counts values of one feature, in the vocabulary and outside.

    Attributes:
      name: the feature.
      vocabulary: its known values.
    """

    name: str
    vocabulary: frozenset[bytes]
    _values: list[int] = field(default_factory=lambda: [0] * len(PARTS))
    _known: list[int] = field(default_factory=lambda: [0] * len(PARTS))

    def add(self, part: int, values: Sequence[bytes]) -> list[int]:
        """Counts values of a part; returns the places of those that are not known."""
        unknown = [place for place, value in enumerate(values) if value not in self.vocabulary]
        self._values[part] += len(values)
        self._known[part] += len(values) - len(unknown)
        return unknown

    def shares(self) -> dict[str, float]:
        """Part -> share of known values, for parts that have values."""
        return {
            part: round(known / values, 6)
            for part, values, known in zip(PARTS, self._values, self._known, strict=True)
            if values
        }


@dataclass
class KnowledgeCoverage:
    """How many samples of a work directory have a vector of each source, by item or by user.

    Attributes:
      samples: "item" and "user" -> id -> samples of all parts.
      log: files of the log and its catalogue, as the manifest of the examples names them.
    """

    samples: Mapping[str, Mapping[bytes, int]] = field(default_factory=dict)
    log: Sequence[str] = ()
    _sources: dict[str, tuple[str, Mapping[str, Any], Set[bytes]]] = field(default_factory=dict)

    def add_source(self, name: str, manifest: Mapping[str, Any], entities: Set[bytes]) -> None:
        """Notes the vectors of a source.

        Args:
          name: what findings call its folder; its last part is the source.
          manifest: its manifest.
          entities: ids that have a vector.
        """
        source = name.rsplit("/", 1)[-1]
        entity = section(manifest, SETTINGS).get(f"knowledge.answers.{source}.entity")
        if isinstance(entity, str):
            self._sources[name] = (entity, manifest, entities)

    def check(self, findings: Findings) -> dict[str, dict[str, Any]]:
        """Compares ids: folder of each source -> counts and shares, see `IdCoverage`."""
        shares: dict[str, dict[str, Any]] = {}
        for name, (entity, manifest, entities) in self._sources.items():
            counts = self.samples.get(entity)
            if not counts or not entities:
                continue
            coverage = IdCoverage.measure(
                entity,
                {value.decode("utf-8", "replace"): count for value, count in counts.items()},
                {value.decode("utf-8", "replace") for value in entities},
                "samples",
            )
            shares[name] = coverage.as_dictionary()
            made_from = ", ".join(section(manifest, "inputs")) or name
            message = (
                f"{coverage.covered_ids:,} of the {coverage.ids:,} {entity}s of the samples and "
                f"{coverage.share:.1%} of the samples have a vector; the log {', '.join(self.log)} "
                f"has ids such as {_listed(coverage.lacking)}, {made_from} such as "
                f"{_listed(coverage.unused)}"
            )
            fix = "give the answers the log's ids with 'python -m preprocessing import --ids FILE'"
            if coverage.is_empty:
                findings.error("ids_do_not_meet", name, message, fix=fix)
            elif coverage.share < _WARN_BELOW:
                findings.warning("few_ids_meet", name, message, fix)
        return shares


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in ids) or "none"


def read_known_values(path: Path) -> frozenset[bytes]:
    """The values of a vocabulary as records hold them.

    Raises:
      DamagedRecords: the file is missing, cut off, or names a value twice.
    """
    return frozenset(value.encode() for value in read_vocabulary(path))
