"""The file of a new prompt scenario, for an expert to edit."""

from __future__ import annotations

import os
import re
import textwrap
from pathlib import Path

import yaml

from preprocessing.prompting.factor_parsing import ProposedFactors
from preprocessing.prompting.prompt_scenario import load_prompt_scenario, prompt_scenario_path
from preprocessing.prompting.sanitising import sanitise_text

_GENERAL_WORDING = "movies"
"""The bundled scenario whose templates suit any noun."""

_ANY_NOUN = ("item", "items")
_WIDTH = 96
_NAME_CHARACTERS = 40
_SHOWN_CHARACTERS = 300


def scenario_name(description: str) -> str:
    """A file name made from a scenario's description, e.g. "short_news_videos"."""
    words = re.sub(r"[^a-z0-9]+", "_", description.lower()).strip("_")
    return words[:_NAME_CHARACTERS].strip("_") or "scenario"


def write_scenario_file(
    path: Path, description: str, proposed: ProposedFactors, proposed_by: str
) -> None:
    """Writes a scenario that `load_prompt_scenario` reads; it appears complete or not at all.

    Args:
      path: the YAML file.
      description: what is recommended to whom.
      proposed: the factors.
      proposed_by: name of the LLM.
    """
    general = load_prompt_scenario(prompt_scenario_path(_GENERAL_WORDING))
    singular, plural = proposed.noun or _ANY_NOUN
    tree = {
        "name": scenario_name(description),
        "noun": {"singular": singular, "plural": plural},
        "factors": {"item": list(proposed.item), "user": list(proposed.user)},
        "title_display": ["{title}"],
        "templates": general.templates.model_dump(),
    }
    shown = sanitise_text(description, _SHOWN_CHARACTERS, quoted=False)
    remarks = (
        f"Scenario: {shown}",
        f"Factors proposed by {proposed_by}. An LLM's first idea, to be edited: strike factors "
        "that no title tells, that mean the same, or that only the platform knows; then adapt the "
        "noun and the templates. Name this file as prompts.scenario.",
    )
    lines = [
        line
        for remark in remarks
        for line in textwrap.wrap(remark, _WIDTH, initial_indent="# ", subsequent_indent="# ")
    ]
    body = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=_WIDTH)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text("\n".join([*lines, body]), encoding="utf-8")
    try:
        load_prompt_scenario(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
