"""The steps `prompts` and `group`: files of lines."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preprocessing.checking.findings import Findings
from preprocessing.checking.manifests import number, section
from preprocessing.generation.prompts import Prompt, read_prompts
from preprocessing.records.contract import GROUP_ID


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
