"""The step `prompts`: renders prompts, counts them and says what they would cost."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.command_line import CommandError, say
from configs.loading import config_hash
from configs.scenario import Scenario
from preprocessing.grouping.needed import groups_at_hand
from preprocessing.hashing import room_version
from preprocessing.inputs import fingerprint_inputs
from preprocessing.prompting.plan import PromptPlan, plan_prompts
from preprocessing.prompting.prompt_file import CUSTOM_IDS, PROMPTS
from preprocessing.prompting.rendering import PromptRenderer
from preprocessing.prompting.token_costs import (
    Prices,
    PromptCount,
    collective_saving,
    cost_rows,
    cost_table,
)
from preprocessing.records.layout import StepDirectory
from preprocessing.steps import StepIdentity, finished_manifest, refuse_rejected, run_step

_SHOWN_MERGES = 5


def build_prompts(
    scenario: Scenario,
    *,
    sources: Sequence[str] | None = None,
    out: Path | None = None,
    prices: Prices | None = None,
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Writes `prompts/` of the work directory.

    Groups that are made here (`grouping`) are made first, unless they are finished.

    Args:
      scenario: the scenario.
      sources: names of `knowledge.answers`; None takes all.
      out: a file that gets a copy of the prompts; the table of pseudonyms and changed groups files
        are copied beside it.
      prices: what tokens cost; None takes the prices of the section `generation`.
      strict: raise RejectedInput when records were rejected.
      force: render even if a finished result is there.
      dry_run: count and price only; nothing is left behind.

    Returns:
      Counts for programs: `costs` has a row for each source and extraction and the total,
      `calls` compares collective with individual extraction, `sources` says what became of every
      item, user and group.

    Raises:
      ConfigurationError: a source, file, column or placeholder does not exist.
      CommandError: an input file is cut off.
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    directory = StepDirectory(Path(scenario.work_dir) / "prompts")
    collective = plan_prompts(scenario, sources).collective
    with groups_at_hand(scenario, collective, dry_run) as grouped:
        plan = plan_prompts(grouped, sources)
        inputs = fingerprint_inputs(plan.input_files)
        identity = StepIdentity("prompts", config_hash(plan.relevant), room_version(), inputs)
        renderer = PromptRenderer(plan)
        if dry_run:
            manifest = None if force else finished_manifest(directory, identity)
            skipped = manifest is not None
            described: Mapping[str, Any] = manifest or _rendered_for_nobody(renderer)
        else:
            described, skipped = run_step(directory, identity, renderer.render, force)
    if prices is None:
        prices = Prices(scenario.generation.price_input, scenario.generation.price_output)
    result = _result(plan, described, prices)
    result |= {"seconds": round(time.monotonic() - start, 3)}
    result |= {"dry_run": True, "would_skip": skipped} if dry_run else {"skipped": skipped}
    result["output"] = str(directory.path / PROMPTS)
    if out is not None and not dry_run:
        _copy(directory.path, out)
        result["output"] = str(out)
    _tell(result, described, skipped)
    if strict and not dry_run:
        refuse_rejected([directory], result)
    return result


def _rendered_for_nobody(renderer: PromptRenderer) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder) / "prompts"
        inside.mkdir()
        return renderer.render(inside)


def _result(plan: PromptPlan, described: Mapping[str, Any], prices: Prices) -> dict[str, Any]:
    counts = [PromptCount(**written) for written in described["written"]]
    rows = cost_rows(counts, plan.prompts.expected_answer_tokens, prices)
    rejected: Mapping[str, Mapping[str, int]] = described["rejected"]
    return {
        "step": "prompts",
        "scenario": plan.scenario.name,
        "prompts": sum(count.prompts for count in counts),
        "costs": rows,
        "calls": collective_saving(counts),
        "sources": described["sources"],
        "inputs_read": described["inputs_read"],
        "dead_letters": sum(sum(reasons.values()) for reasons in rejected.values()),
        "rejected_by_reason": rejected,
    }


def _tell(result: Mapping[str, Any], described: Mapping[str, Any], skipped: bool) -> None:
    say(cost_table(result["costs"], result["calls"]))
    for source, counts in described["sources"].items():
        for line in _remarks(source, counts):
            say(line)
    if "dry_run" in result:
        say(f"prompts: {result['prompts']:,} would be written to {result['output']}")
        return
    work = "unchanged, skipped" if skipped else f"written in {result['seconds']:.1f} s"
    say(
        f"prompts: {result['prompts']:,} prompts, {result['dead_letters']:,} rejected records, "
        f"{work}: {result['output']}"
    )


def _remarks(source: str, counts: Mapping[str, Any]) -> list[str]:
    lines = []
    individual = counts.get("individual", {})
    for reason in ("filtered_out", "without_title", "without_history", "without_titles"):
        if individual.get(reason):
            entities = "items" if "items" in individual else "users"
            lines.append(
                f"{source}: no prompt for {individual[reason]:,} {entities} "
                f"{reason.replace('_', ' ')}"
            )
    collective = counts.get("collective", {})
    merged = collective.get("merged", [])
    if merged:
        pairs = [f"{merge['group']} into {merge['into']}" for merge in merged]
        more = f" and {len(merged) - _SHOWN_MERGES} more" if len(merged) > _SHOWN_MERGES else ""
        lines.append(
            f"{source}: merged small or empty groups {', '.join(pairs[:_SHOWN_MERGES])}{more}; "
            f"groups_{source}.csv has the groups that fit the prompts"
        )
    if collective.get("suppressed"):
        lines.append(
            f"{source}: all groups together are too small (prompts.minimum_group_users): no prompt"
        )
    return lines


def _copy(folder: Path, out: Path) -> None:
    """Copies prompts to `out` and what belongs to them beside it, each file in one move."""
    if out.is_dir():
        raise CommandError(f"--out {out}: is a folder; name a file, e.g. {out / PROMPTS}")
    out.parent.mkdir(parents=True, exist_ok=True)
    copies = {folder / PROMPTS: out}
    for path in (folder / CUSTOM_IDS, *sorted(folder.glob("groups_*.csv"))):
        copies[path] = out.with_name(f"{out.stem}.{path.name}")
    for source, target in copies.items():
        temporary = target.with_name(f".{target.name}.partial")
        shutil.copy(source, temporary)
        os.replace(temporary, target)
