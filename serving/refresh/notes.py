"""What a refreshed version says about itself, in its model card and its manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.export_manifest import listed_files, variable_name, write_document
from serving.model_card.card import CARD_JSON, CARD_MARKDOWN

_REFRESHED = "refreshed"

Shapes = Mapping[str, tuple[int, ...]]


def note_on_card(version_folder: Path, noted: Mapping[str, Any]) -> None:
    """Adds a section to the model card, where there is one.

    Args:
      version_folder: the new version.
      noted: `time`, `from_version`, `code_version`, and what the refresh did.
    """
    card, card_json = version_folder / CARD_MARKDOWN, version_folder / CARD_JSON
    if card_json.exists():
        facts = json.loads(card_json.read_text(encoding="utf-8"))
        facts[_REFRESHED] = [*facts.get(_REFRESHED, []), noted]
        card_json.write_text(json.dumps(facts, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if not card.exists():
        return
    lines = [
        "",
        f"## Refreshed on {noted['time'][:10]}",
        "",
        f"New answers were added to version {noted['from_version']} without training: "
        f"{noted['changed_rows']:,} knowledge rows changed or joined, {noted['new_items']:,} items "
        f"and {noted['new_users']:,} users are new. Metrics and proof above are of the exported "
        "run, before any refresh.",
        "",
        "| knowledge | before | after |",
        "|---|---|---|",
    ]
    for entity in ("items", "users"):
        before, after = noted[entity]["before"], noted[entity]["after"]
        if not any(after.values()):
            continue
        lines += [f"| {entity}: {kind} | {before[kind]:,} | {after[kind]:,} |" for kind in before]
    with card.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def write_manifest(
    version_folder: Path, base: Mapping[str, Any], noted: Mapping[str, Any], shapes: Shapes
) -> None:
    """Writes the manifest of a refreshed version, which comes last: it lists every other file.

    Args:
      version_folder: the new version, complete but for this file.
      base: manifest of the version that was refreshed.
      noted: `time`, `from_version`, `code_version`, and what the refresh did.
      shapes: checkpoint key -> shape of variables that changed.
    """
    variables = dict(base.get("variables", {}))
    for key, shape in shapes.items():
        name = variable_name(key)
        if name in variables:
            variables[name] = {**variables[name], "shape": list(shape)}
    manifest = {
        **base,
        "created": noted["time"],
        "variables": variables,
        # The proof compared another version with the checkpoint.
        "proof": None,
        _REFRESHED: [*base.get(_REFRESHED, []), noted],
        "files": listed_files(version_folder),
    }
    write_document(version_folder, manifest)
