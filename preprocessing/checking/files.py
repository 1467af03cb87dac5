"""The files of a step against its manifest: all there, none too many, each as it was written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.file_hash import file_sha256
from preprocessing.checking.findings import Findings
from preprocessing.records.layout import StepDirectory


def check_files(
    folder: Path, manifest: Mapping[str, Any], name: str, findings: Findings
) -> set[str]:
    """Compares names, sizes and checksums.

    Args:
      folder: the step's folder.
      manifest: its manifest.
      name: what findings call the folder.
      findings: where they go.

    Returns:
      Files that are there and not what the manifest says.
    """
    listed = manifest["files"]
    present = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path != StepDirectory(folder).manifest
    }
    changed = set()
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
            changed.add(file)
        elif file_sha256(present[file]) != listed[file]["sha256"]:
            findings.error(
                "wrong_checksum", f"{name}/{file}", "its SHA-256 is not the one in the manifest"
            )
            changed.add(file)
    return changed
