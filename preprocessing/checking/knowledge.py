"""The step `encode`: knowledge vectors of one source."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.checking.findings import REBUILD, Findings
from preprocessing.checking.manifests import number, records_of_shard, section
from preprocessing.checking.record_rules import BrokenRule, Record
from preprocessing.checking.shards import ShardReader, complete_shards
from preprocessing.inspection.schema import SchemaFeature
from preprocessing.records import contract
from preprocessing.records.layout import KnowledgeDirectory, fold_folder

_FOLDS = "folds"
_SCHEMA = {
    feature.name: SchemaFeature(feature.type, 1, None if feature.is_list else 1)
    for feature in contract.KNOWLEDGE_FEATURES
}


class KnowledgeCheck:
    """Checks the vectors of one source; keeps its entity ids in memory.

    Args:
      folder: the step's folder.
      manifest: its manifest.
      name: what findings call the folder.
      findings: where they go.
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings):
        self._folder = folder
        self._manifest = manifest
        self._name = name
        self._findings = findings
        self._entities: set[bytes] = set()
        self._extractions: Counter[str] = Counter()
        self._width = number(section(manifest, "encoder"), "dimension")

    @property
    def entities(self) -> set[bytes]:
        """Ids of the records that were read."""
        return self._entities

    def run(self) -> dict[str, int]:
        """Reads every record; returns how many vectors there are of each extraction."""
        self._read(self._folder, self._name, self._manifest, self._entities, self._extractions)
        self._compare_counts()
        if _FOLDS in self._manifest or KnowledgeDirectory(self._folder).is_cross_fitted:
            self._check_folds()
        return dict(sorted(self._extractions.items()))

    def _check_folds(self) -> None:
        """Checks the vectors that were made without each user fold."""
        listed = self._manifest.get(_FOLDS)
        described = listed if isinstance(listed, list) else []
        for fold in range(contract.USER_FOLDS):
            folder, name = self._folder / fold_folder(fold), f"{self._name}/{fold_folder(fold)}"
            tree = described[fold] if fold < len(described) else {}
            entities: set[bytes] = set()
            self._read(folder, name, tree if isinstance(tree, Mapping) else {}, entities, Counter())
            unknown = entities - self._entities
            if unknown:
                self._findings.error(
                    "unknown_entity",
                    name,
                    f"{len(unknown):,} vectors of entities that have none from all users",
                    fix=REBUILD,
                )

    def _read(
        self,
        folder: Path,
        name: str,
        manifest: Mapping[str, Any],
        entities: set[bytes],
        extractions: Counter[str],
    ) -> None:
        """Reads the records of a folder; adds to `entities` and `extractions` what they hold."""
        reader = ShardReader(_SCHEMA, self._findings)
        for path in complete_shards(folder, name, self._findings):
            file = f"{name}/{path.name}"
            expected = records_of_shard(manifest, path.name, "records")
            for place, record in reader.records(path, file, expected):
                try:
                    self._check(record, entities, extractions)
                except BrokenRule as broken:
                    self._findings.error(broken.check, file, broken.message, place)

    def _check(self, record: Record, entities: set[bytes], extractions: Counter[str]) -> None:
        """Checks one record.

        Raises:
          BrokenRule: it is no usable vector of an entity of its own.
        """
        entity = record[contract.ENTITY_ID][0]
        if not entity:
            raise BrokenRule("empty_id", f"'{contract.ENTITY_ID}' is empty")
        if entity in entities:
            raise BrokenRule("duplicate_entity", "a second vector of an entity of this source")
        entities.add(entity)
        extraction = record[contract.EXTRACTION][0].decode("utf-8", "replace")
        if extraction not in contract.EXTRACTIONS:
            raise BrokenRule("extraction_mismatch", f"extraction is '{extraction}'")
        extractions[extraction] += 1
        vector = np.array(record[contract.VECTOR], np.float32)
        if self._width is None:
            self._width = len(vector)
        if len(vector) != self._width:
            raise BrokenRule(
                "wrong_width", f"a vector of width {len(vector)}, the others have {self._width}"
            )
        if not vector.any():
            raise BrokenRule("zero_vector", "the vector is all zeros")

    def _compare_counts(self) -> None:
        counts = section(self._manifest, "counts")
        for extraction in contract.EXTRACTIONS:
            expected = number(counts, f"{extraction}_entities")
            if expected is not None and self._extractions[extraction] != expected:
                self._findings.error(
                    "wrong_record_count",
                    self._name,
                    f"{self._extractions[extraction]:,} {extraction} vectors, the manifest counts "
                    f"{expected:,}",
                    fix=REBUILD,
                )
