"""`prompts --propose-factors`: asks the configured LLM for the factors of a new scenario."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, say
from configs.loading import ConfigurationError
from configs.prompting import Generation
from preprocessing.answers.record import custom_id, prompt_sha256
from preprocessing.generation.generate import GenerateStep
from preprocessing.generation.outputs import OutputFolder
from preprocessing.prompting.factor_proposal import (
    factor_proposal_prompt,
    parse_factors,
    scenario_name,
    write_scenario_file,
)
from preprocessing.records.contract import INDIVIDUAL

_SOURCE = "factors"
_PROMPTS = "prompts.jsonl"


def proposal_prompt(description: str | None) -> str:
    """The prompt about a scenario.

    Raises:
      ConfigurationError: there is no description.
    """
    try:
        return factor_proposal_prompt(description or "")
    except ValueError as error:
        raise ConfigurationError(
            f"{error}; give --scenario-text, e.g. --scenario-text 'short news videos for commuters'"
        ) from error


def propose_factors(
    settings: Generation, description: str | None, folder: Path, out: Path | None, force: bool
) -> dict[str, Any]:
    """Asks for factors and writes a scenario for an expert to edit.

    The answer goes through the answer store like any other: asking again with the same LLM and
    parameters costs nothing.

    Args:
      settings: the section `generation`.
      description: what is recommended to whom.
      folder: for the prompt, the answer and the answer store.
      out: the scenario's YAML file; in the folder if None.
      force: replace an existing file.

    Returns:
      The JSON result: file, factors, tokens and cost.

    Raises:
      ConfigurationError: the settings name a client that does not answer at once.
      CommandError: the file exists, the LLM gave no answer, or none that can be understood.
    """
    prompt = proposal_prompt(description)
    text = str(description)
    if settings.client not in ("openai", "gguf"):
        raise ConfigurationError(
            f"generation.client: '{settings.client}' answers nothing new; --propose-factors needs "
            "openai or gguf, or --dry-run, which prints the prompt"
        )
    out = out or folder / f"{scenario_name(text)}.yaml"
    if out.exists() and not force:
        raise CommandError(
            f"{out}: exists, perhaps edited by an expert; name another --out or add --force"
        )
    summary, answer = _ask(settings, prompt, scenario_name(text), folder)
    factors = parse_factors(answer)
    write_scenario_file(out, text, factors, str(summary["model"]))
    for entity, names in (("item", factors.item), ("user", factors.user)):
        say(f"{entity}: {', '.join(names)}")
    say(f"prompts: factors for an expert to edit: {out}; then set prompts.scenario={out}")
    return {
        "step": "prompts",
        "output": str(out),
        "factors": {"item": list(factors.item), "user": list(factors.user)},
        "prompt": prompt,
        "prompt_sha256": prompt_sha256(prompt),
        **{key: summary[key] for key in ("model", "calls", "tokens", "cost_usd")},
    }


def _ask(settings: Generation, prompt: str, name: str, folder: Path) -> tuple[dict[str, Any], str]:
    """The summary of the run and the LLM's answer."""
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "custom_id": custom_id(_SOURCE, INDIVIDUAL, name),
        "source": _SOURCE,
        "entity_id": name,
        "extraction": INDIVIDUAL,
        "prompt": prompt,
    }
    prompts = folder / _PROMPTS
    temporary = folder / f".{_PROMPTS}.partial"
    temporary.write_text(json.dumps(record, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, prompts)
    free_text = settings.model_copy(update={"json_schema": None})
    try:
        summary = GenerateStep(free_text, str(prompts), folder).run(strict=False)
    except CommandError as error:
        # Its result is the summary of `generate`, and this is another command.
        raise CommandError(str(error)) from error
    output = OutputFolder(folder)
    with output.answers.open(encoding="utf-8") as file:
        answer = file.readline()
    if not answer:
        reason = ", ".join(summary["rejected_by_reason"]) or str(summary["stopped"])
        raise CommandError(f"the LLM gave no answer ({reason}); see {output.dead_letters}")
    return summary, json.loads(answer)["answer"]
