"""`validate` of folders: a work directory with all its steps, or the folder of one step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, RejectedInput, say
from preprocessing.checking.counts import check_counts
from preprocessing.checking.coverage import KnowledgeCoverage
from preprocessing.checking.example_counts import check_example_counts
from preprocessing.checking.examples import ExamplesCheck, settings_of
from preprocessing.checking.files import check_files
from preprocessing.checking.findings import Findings, Severity
from preprocessing.checking.item_tables import check_item_attributes, check_vocabularies
from preprocessing.checking.knowledge import KnowledgeCheck
from preprocessing.checking.leaks import PromptsOfExamples, check_leak_counts
from preprocessing.checking.manifests import section
from preprocessing.checking.text_steps import check_groups, check_prompts
from preprocessing.inspection.kinds import Kind, kind_of, read_manifest, step_folders
from preprocessing.records.coverage import shares_of_log
from preprocessing.records.layout import ExamplesDirectory, StepDirectory

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
    check_files(folder, manifest, name, findings)
    check_counts(folder, manifest, name, findings)
    return {"step": manifest["step"], **_check_content(folder, manifest, name, findings, coverage)}


def _check_content(
    folder: Path,
    manifest: Mapping[str, Any],
    name: str,
    findings: Findings,
    coverage: KnowledgeCoverage,
) -> dict[str, Any]:
    if ExamplesDirectory(folder).vocabularies.is_dir():
        return _check_examples(folder, manifest, name, findings, coverage)
    if any(folder.glob("part-*.tfrecord.gz")):
        check = KnowledgeCheck(folder, manifest, name, findings)
        read_vectors = check.run()
        coverage.add_source(name, manifest, check.entities)
        return {"vectors": read_vectors}
    read: dict[str, Any] = {}
    if (folder / _PROMPTS).is_file():
        read |= check_prompts(folder / _PROMPTS, manifest, f"{name}/{_PROMPTS}", findings)
    if (folder / _GROUPS).is_file():
        read |= check_groups(folder / _GROUPS, manifest, f"{name}/{_GROUPS}", findings)
    return read


def _check_examples(
    folder: Path,
    manifest: Mapping[str, Any],
    name: str,
    findings: Findings,
    coverage: KnowledgeCoverage,
) -> dict[str, Any]:
    check_leak_counts(folder, manifest, name, findings)
    check_example_counts(folder, manifest, name, findings)
    check_vocabularies(folder, manifest, name, findings)
    check_item_attributes(folder, manifest, name, findings)
    settings = settings_of(manifest)
    if settings is None:
        findings.error(
            "damaged_manifest",
            f"{name}/{StepDirectory(folder).manifest.name}",
            "its 'settings' lack data.history_length, split.by or split.knowledge_history_cap, so "
            "the records cannot be checked",
        )
        return {}
    prompts = PromptsOfExamples.of(folder, manifest, name, findings)
    check = ExamplesCheck(folder, manifest, settings, name, findings, prompts)
    check.run()
    coverage.samples, coverage.log = check.samples, sorted(section(manifest, "inputs"))
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
