"""What the step `examples` found when it compared samples with the prompts (leak rule)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocessing.checking.findings import Findings
from preprocessing.checking.manifests import number, section
from preprocessing.records.layout import StepDirectory

_VIOLATIONS = "leak_violations"


def check_leak_counts(
    folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings
) -> None:
    """The number of violations must be 0; sources that nobody could verify are named.

    Args:
      folder: the step's folder.
      manifest: its manifest.
      name: what findings call the folder.
      findings: where they go.
    """
    file = f"{name}/{StepDirectory(folder).manifest.name}"
    counts = section(manifest, "counts")
    violations = number(counts, _VIOLATIONS)
    if violations is None:
        findings.error("leak_rule", file, f"counts no '{_VIOLATIONS}'")
    elif violations:
        findings.error(
            "leak_rule",
            file,
            f"{violations:,} samples were shown to the LLM",
            fix="set split.knowledge_history_cap to what the prompts were made with",
        )
    unverified = section(counts, "leak_check").get("unverified_sources")
    for source in unverified if isinstance(unverified, list) else ():
        findings.note(
            "unverified_source",
            file,
            f"source '{source}': nothing shows that the LLM saw interactions before k_u only",
        )
