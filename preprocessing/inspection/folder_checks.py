"""`validate` of folders: a work directory with all its steps, or the folder of one step."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.command_line import CommandError, RejectedInput, say
from preprocessing.answers.prompts import Prompt, read_prompts
from preprocessing.inspection.example_checks import (
    ExamplesCheck,
    KnowledgeCoverage,
    check_example_counts,
    check_item_attributes,
    check_vocabularies,
    settings_of,
)
from preprocessing.inspection.findings import (
    REBUILD,
    CheckedStep,
    Findings,
    Severity,
    check_counts,
    check_files,
    number,
    records_of_shard,
    section,
)
from preprocessing.inspection.inspect import (
    Kind,
    SchemaFeature,
    kind_of,
    read_manifest,
    step_folders,
)
from preprocessing.inspection.record_checks import (
    BrokenRule,
    PromptsOfExamples,
    Record,
    ShardReader,
    check_leak_counts,
    complete_shards,
)
from preprocessing.records import contract
from preprocessing.records.contract import GROUP_ID
from preprocessing.records.coverage import shares_of_log
from preprocessing.records.layout import (
    SHARD_PATTERN,
    ExamplesDirectory,
    KnowledgeDirectory,
    StepDirectory,
    fold_folder,
)

_FOLDS = "folds"
_SCHEMA = {
    feature.name: SchemaFeature(feature.type, 1, None if feature.is_list else 1)
    for feature in contract.KNOWLEDGE_FEATURES
}


class KnowledgeCheck:
    """Checks the vectors of one source; keeps its entity ids in memory.

    Args:
      step: the source's step.
    """

    def __init__(self, step: CheckedStep):
        self._step = step
        self._findings = step.findings
        self._entities: set[bytes] = set()
        self._extractions: Counter[str] = Counter()
        self._width = number(section(step.manifest, "encoder"), "dimension")

    @property
    def entities(self) -> set[bytes]:
        """Ids of the records that were read."""
        return self._entities

    def run(self) -> dict[str, int]:
        """Reads every record; returns how many vectors there are of each extraction."""
        step = self._step
        self._read(step.folder, step.name, step.manifest, self._entities, self._extractions)
        self._compare_counts()
        if _FOLDS in step.manifest or KnowledgeDirectory(step.folder).is_cross_fitted:
            self._check_folds()
        return dict(sorted(self._extractions.items()))

    def _check_folds(self) -> None:
        """Checks the vectors that were made without each user fold."""
        listed = self._step.manifest.get(_FOLDS)
        described = listed if isinstance(listed, list) else []
        for fold in range(contract.USER_FOLDS):
            folder = self._step.folder / fold_folder(fold)
            name = f"{self._step.name}/{folder.name}"
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
            for number_in_file, record in reader.records(path, file, expected):
                try:
                    self._check(record, entities, extractions)
                except BrokenRule as broken:
                    self._findings.error(broken.check, file, broken.message, number_in_file)

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
        counts = self._step.counts
        for extraction in contract.EXTRACTIONS:
            expected = number(counts, f"{extraction}_entities")
            if expected is not None and self._extractions[extraction] != expected:
                self._findings.error(
                    "wrong_record_count",
                    self._step.name,
                    f"{self._extractions[extraction]:,} {extraction} vectors, the manifest counts "
                    f"{expected:,}",
                    fix=REBUILD,
                )


def check_prompts(
    path: Path, manifest: Mapping[str, Any], name: str, findings: Findings
) -> dict[str, int]:
    """Every prompt is one, and there are as many as the manifest counts."""
    prompts = 0
    for entry in read_prompts(str(path)):
        if isinstance(entry, Prompt):
            prompts += 1
        else:
            findings.error(entry["reason"], name, entry["detail"], entry["line"])
    written = manifest.get("written")
    counts = [number(count, "prompts") for count in written] if isinstance(written, list) else []
    expected = sum(count for count in counts if count is not None)
    if counts and prompts != expected:
        findings.error(
            "wrong_record_count",
            name,
            f"holds {prompts:,} prompts, the manifest counts {expected:,}",
        )
    return {"prompts": prompts}


def check_groups(
    path: Path, manifest: Mapping[str, Any], name: str, findings: Findings
) -> dict[str, int]:
    """Every row names an entity and its group, every entity occurs once, and counts are right."""
    entities: set[str] = set()
    groups: set[str] = set()
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        reader = csv.reader(file)
        header = next(reader, [])
        if len(header) != 2 or header[1] != GROUP_ID:
            findings.error(
                "wrong_columns",
                name,
                f"the columns are '{','.join(header)}', must be '<entity>_id,{GROUP_ID}'",
            )
            return {}
        for row in reader:
            if len(row) != len(header) or not all(row):
                findings.error("empty_id", name, "an id is empty or missing", reader.line_num)
            elif row[0] in entities:
                findings.error(
                    "duplicate_entity", name, "a second group of an entity", reader.line_num
                )
            else:
                entities.add(row[0])
                groups.add(row[1])
    read = {"entities": len(entities), "groups": len(groups)}
    counted = {
        "entities": number(section(manifest, "counts"), "grouped"),
        "groups": number(section(manifest, "groups"), "number"),
    }
    for what, expected in counted.items():
        if expected is not None and read[what] != expected:
            findings.error(
                "wrong_record_count",
                name,
                f"has {read[what]:,} {what}, the manifest counts {expected:,}",
            )
    return read


_GROUPS, _PROMPTS = "groups.csv", "prompts.jsonl"


def validate_folders(paths: Sequence[Path], strict: bool) -> dict[str, Any]:
    """Checks work directories and folders of steps against their schemas and manifests.

    Args:
      paths: the folders.
      strict: a warning raises RejectedInput.

    Returns:
      Findings, and what was read of each step.

    Raises:
      CommandError: a folder is none of a step, or there are errors.
      RejectedInput: `strict` and there are warnings.
    """
    findings, steps = Findings(), {}
    for path in paths:
        whole = kind_of(path) is Kind.WORK_DIRECTORY
        coverage = KnowledgeCoverage()
        for folder in step_folders(path) if whole else [path]:
            name = folder.relative_to(path).as_posix() if whole else folder.name
            steps[str(folder)] = _check_step(folder, name, findings, coverage)
        for name, shares in coverage.check(findings).items():
            steps[str(path / name)]["coverage"] = shares
        if whole:
            _check_leftovers(path, findings)
    result = _result(paths, steps, findings)
    _tell(result, findings)
    if result["errors"]:
        raise CommandError(f"{result['errors']:,} errors; see above", result)
    if strict and result["warnings"]:
        raise RejectedInput(f"{result['warnings']:,} warnings", result)
    return result


def _check_step(
    folder: Path, name: str, findings: Findings, coverage: KnowledgeCoverage
) -> dict[str, Any]:
    """Checks one step; returns what was read."""
    manifest_file = StepDirectory(folder).manifest
    try:
        manifest = read_manifest(manifest_file)
    except CommandError as error:
        message = str(error).removeprefix(f"{manifest_file}: ")
        findings.error("damaged_manifest", f"{name}/{manifest_file.name}", message)
        return {}
    say(f"validate: {name} ({manifest['step']})")
    step = CheckedStep(folder, manifest, name, findings)
    check_files(step)
    check_counts(step)
    return {"step": manifest["step"], **_check_content(step, coverage)}


def _check_content(step: CheckedStep, coverage: KnowledgeCoverage) -> dict[str, Any]:
    folder, manifest, name, findings = step.folder, step.manifest, step.name, step.findings
    if ExamplesDirectory(folder).vocabularies.is_dir():
        return _check_examples(step, coverage)
    if any(folder.glob(SHARD_PATTERN)):
        check = KnowledgeCheck(step)
        read_vectors = check.run()
        coverage.add_source(name, manifest, check.entities)
        return {"vectors": read_vectors}
    read: dict[str, Any] = {}
    if (folder / _PROMPTS).is_file():
        read |= check_prompts(folder / _PROMPTS, manifest, f"{name}/{_PROMPTS}", findings)
    if (folder / _GROUPS).is_file():
        read |= check_groups(folder / _GROUPS, manifest, f"{name}/{_GROUPS}", findings)
    return read


def _check_examples(step: CheckedStep, coverage: KnowledgeCoverage) -> dict[str, Any]:
    check_leak_counts(step)
    check_example_counts(step)
    check_vocabularies(step)
    check_item_attributes(step)
    settings = settings_of(step.manifest)
    if settings is None:
        step.findings.error(
            "damaged_manifest",
            step.manifest_name,
            "its 'settings' lack data.history_length, split.by or split.knowledge_history_cap, so "
            "the records cannot be checked",
        )
        return {}
    check = ExamplesCheck(step, settings, PromptsOfExamples.read(step))
    check.run()
    coverage.samples, coverage.log = check.samples, sorted(section(step.manifest, "inputs"))
    return {"examples": check.records, "in_vocabulary": check.coverage}


def _check_leftovers(work: Path, findings: Findings) -> None:
    for pattern in (".*.partial", ".*.replaced", "*/.*.partial", "*/.*.replaced"):
        for path in sorted(work.glob(pattern)):
            findings.warning(
                "leftover",
                path.relative_to(work).as_posix(),
                "left behind by a step that was stopped",
                fix="the step's next run removes it",
            )


def _result(paths: Sequence[Path], steps: Mapping[str, Any], findings: Findings) -> dict[str, Any]:
    return {
        "paths": [str(path) for path in paths],
        "errors": findings.count(Severity.ERROR),
        "warnings": findings.count(Severity.WARNING),
        "by_check": findings.by_check(),
        "findings": [finding.as_dictionary() for finding in findings.kept()],
        "findings_not_listed": findings.not_kept(),
        "steps": steps,
    }


def _tell(result: Mapping[str, Any], findings: Findings) -> None:
    for finding in findings.kept():
        say(finding.line())
    if result["findings_not_listed"]:
        say(f"... and {result['findings_not_listed']:,} more of these kinds in the same files")
    for folder, read in result["steps"].items():
        for kind, features in read.get("in_vocabulary", {}).items():
            for feature, shares in features.items():
                listed = ", ".join(f"{part} {share:.2%}" for part, share in shares.items())
                say(f"{folder}: {kind}: {feature} in the vocabulary: {listed}")
        if "coverage" in read:
            say(f"{folder}: {shares_of_log(read['coverage'])} have a vector")
    say(
        f"validate: {result['errors']:,} errors, {result['warnings']:,} warnings in "
        f"{len(result['steps'])} steps"
    )
