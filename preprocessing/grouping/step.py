"""The step `group`: makes the groups of sources for collective extraction."""

from __future__ import annotations

import functools
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.command_line import CommandError, say
from configs.loading import override_scenario
from configs.scenario import Scenario
from preprocessing.answers.record import chosen_sources
from preprocessing.dead_letters import DeadLetterRuns
from preprocessing.grouping.plan import GroupingPlan, groups_directory, plan_groups
from preprocessing.inputs import input_checksums
from preprocessing.interactions.catalogue import open_catalogue
from preprocessing.interactions.reading import open_interactions
from preprocessing.records.forgotten import Forgotten
from preprocessing.steps import Step, StepRun, only_writer, refuse_rejected, run_sources
from preprocessing.tables.blocks import expand_paths

if TYPE_CHECKING:
    from preprocessing.grouping.building import GroupBuilder


def make_groups(
    scenario: Scenario,
    *,
    sources: Sequence[str] | None = None,
    strict: bool = False,
    force: bool = False,
    dry_run: bool = False,
) -> dict[str, Any]:
    """Writes `groups/<source>/` of the work directory.

    Args:
      scenario: the scenario.
      sources: names of sources with `grouping`; None takes all of them.
      strict: raise RejectedInput when records were rejected.
      force: group even if a finished result is there.
      dry_run: only say what would be done.

    Returns:
      Counts for programs under `sources` for each. Of `entities`, `grouped` are in a group and
      those of `left_out`, by reason, are not: the two add up. `groups` has their number and sizes;
      `leak_rule` says how many interactions were used.

    Raises:
      ConfigurationError: see `plan_groups`; or a file or column does not exist.
      CommandError: an input file is cut off.
      RejectedInput: `strict` and there are dead letters.
    """
    start = time.monotonic()
    with ExitStack() as scratch:
        steps = _steps(scenario, plan_groups(scenario, sources), _Maker(scenario, scratch))
        if dry_run:
            described = [step.dry_run(force) for step in steps.values()]
            return {"step": "group", "dry_run": True, "sources": described}
        for step in steps.values():
            _clear_shared(step.directory.path.parent)
        result = run_sources("group", steps, force, start)
    if strict:
        refuse_rejected([step.directory for step in steps.values()], result)
    return result


_SHARED = ".scratch-"


class _Maker:
    """Builds groups; reads the tables when the first source needs them, and once.

    Args:
      scenario: the scenario.
      scratch: deletes, when all is done, what sources share.
    """

    def __init__(self, scenario: Scenario, scratch: ExitStack):
        self._scenario = scenario
        self._scratch = scratch
        self._builder: GroupBuilder | None = None

    def build(self, plan: GroupingPlan, folder: Path) -> dict[str, Any]:
        from preprocessing.grouping.building import GroupBuilder
        from preprocessing.grouping.features import read_material

        if self._builder is None:
            forgotten = Forgotten.of(self._scenario.work_dir)
            log = open_interactions(self._scenario.data, self._scenario.split).without(forgotten)
            catalogue = open_catalogue(self._scenario.data.catalogue).without(forgotten)
            rejected = DeadLetterRuns(self._shared_folder(folder.parent))
            material = read_material(self._scenario, log, catalogue, folder, rejected)
            self._builder = GroupBuilder(material)
        return self._builder.build(plan, folder)

    def _shared_folder(self, parent: Path) -> str:
        """A folder that lives as long as the scratch."""
        shared = tempfile.TemporaryDirectory(dir=parent, prefix=_SHARED)
        path = self._scratch.enter_context(shared)
        self._scratch.enter_context(only_writer(Path(path)))
        return path


def _clear_shared(parent: Path) -> None:
    """Removes the shared folders of runs that were killed, which nobody holds any more."""
    # They are made while the folder above is held: without it, a new one might not be held yet.
    with suppress(CommandError, FileNotFoundError), only_writer(parent):
        for leftover in parent.glob(f"{_SHARED}*"):
            with suppress(CommandError), only_writer(leftover):
                shutil.rmtree(leftover)


def _steps(scenario: Scenario, plans: Sequence[GroupingPlan], maker: _Maker) -> dict[str, Step]:
    """The step of each planned source.

    Raises:
      ConfigurationError: a path or pattern means no file.
      CommandError: an input file is cut off.
    """
    tables = {
        "data.interactions.path": scenario.data.interactions,
        "data.catalogue.path": scenario.data.catalogue,
    }
    files: dict[str, str] = {}
    for key, table in tables.items():
        files |= dict.fromkeys(expand_paths(table.paths, key), key)
    inputs = input_checksums(files) if plans else {}
    return {
        plan.source: Step(
            name=f"group {plan.source}",
            directory=groups_directory(scenario, plan.source),
            settings=plan.settings(scenario),
            inputs=inputs,
            forgotten=Forgotten.of(scenario.work_dir),
            build=functools.partial(maker.build, plan),
            report=functools.partial(_report, plan),
        )
        for plan in plans
    }


def _report(plan: GroupingPlan, run: StepRun) -> dict[str, Any]:
    manifest = run.manifest
    say(_progress_line(plan, manifest, run.seconds, run.skipped))
    return {
        **{key: manifest[key] for key in ("counts", "groups", "leak_rule", "records_read")},
        "dead_letters": sum(sum(reasons.values()) for reasons in manifest["rejected"].values()),
        "rejected_by_reason": manifest["rejected"],
    }


def _progress_line(
    plan: GroupingPlan, manifest: Mapping[str, Any], seconds: float, skipped: bool
) -> str:
    counts, groups = manifest["counts"], manifest["groups"]
    if skipped:
        return f"group {plan.source}: unchanged, skipped ({groups['number']:,} groups)"
    entities = "items" if plan.kind == "item" else "users"
    line = f"group {plan.source}: {counts['grouped']:,} of {counts['entities']:,} {entities}"
    if not groups["number"]:
        return f"{line} in groups: {_reasons(counts)}"
    line += (
        f" -> {groups['number']:,} groups of {groups['smallest']:,} to {groups['largest']:,}, "
        f"{groups['entities_per_call']}x fewer calls, in {seconds:.1f} s"
    )
    reasons = _reasons(counts)
    return f"{line}; left out: {reasons}" if reasons else line


def _reasons(counts: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{number:,} {reason.replace('_', ' ')}"
        for reason, number in counts["left_out"].items()
        if number
    )


def unfinished_groups(scenario: Scenario, sources: Sequence[str]) -> list[str]:
    """Those sources, as `asked_sources` names them, whose groups would have to be made."""
    plans = plan_groups(scenario, with_grouping(scenario, sources))
    with ExitStack() as scratch:
        steps = _steps(scenario, plans, _Maker(scenario, scratch))
    return [source for source, step in steps.items() if step.finished() is None]


@contextmanager
def groups_at_hand(
    scenario: Scenario, sources: Sequence[str], dry_run: bool = False
) -> Iterator[Scenario]:
    """Makes needed groups; in a dry run those that are not finished in a temporary folder.

    Args:
      scenario: the scenario.
      sources: names of sources, with `grouping` or without.
      dry_run: leave nothing behind.

    Yields:
      The scenario by which `groups_file` finds the groups: itself, or in a dry run perhaps one
      with another `work_dir`.
    """
    chosen = with_grouping(scenario, sources)
    if dry_run and unfinished_groups(scenario, sources):
        with tempfile.TemporaryDirectory(prefix="groups-") as folder:
            elsewhere = override_scenario(scenario, {"work_dir": folder})
            make_groups(elsewhere, sources=chosen)
            yield elsewhere
    else:
        if chosen:
            make_groups(scenario, sources=chosen)
        yield scenario


def with_grouping(scenario: Scenario, sources: Sequence[str]) -> list[str]:
    """Those sources, as `asked_sources` names them, whose groups are made here."""
    asked = chosen_sources(scenario.knowledge.answers, sources)
    return [source for source, described in asked.items() if described.grouping is not None]
