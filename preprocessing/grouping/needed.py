"""Groups for the steps that need them: made first, unless they are finished."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from configs.loading import override_scenario
from configs.scenario import Scenario
from preprocessing.grouping.location import groups_directory
from preprocessing.grouping.plan import plan_groups
from preprocessing.grouping.step import group_identities, make_groups
from preprocessing.knowledge.asked_sources import chosen_sources
from preprocessing.steps import finished_manifest


def make_needed_groups(scenario: Scenario, sources: Sequence[str]) -> None:
    """Makes the groups of those sources whose groups are made here, unless they are finished.

    Args:
      scenario: the scenario.
      sources: names of sources, with `grouping` or without.

    Raises:
      ConfigurationError: see `make_groups`.
      CommandError: see `make_groups`.
    """
    chosen = _with_grouping(scenario, sources)
    if chosen:
        make_groups(scenario, sources=chosen)


def unfinished_groups(scenario: Scenario, sources: Sequence[str]) -> list[str]:
    """Those sources, as `asked_sources` names them, whose groups would have to be made."""
    plans = plan_groups(scenario, _with_grouping(scenario, sources))
    return [
        source
        for source, identity in group_identities(scenario, plans).items()
        if finished_manifest(groups_directory(scenario, source), identity) is None
    ]


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
    if dry_run and unfinished_groups(scenario, sources):
        with tempfile.TemporaryDirectory(prefix="groups-") as folder:
            elsewhere = override_scenario(scenario, {"work_dir": folder})
            make_needed_groups(elsewhere, sources)
            yield elsewhere
    else:
        make_needed_groups(scenario, sources)
        yield scenario


def _with_grouping(scenario: Scenario, sources: Sequence[str]) -> list[str]:
    asked = chosen_sources(scenario.knowledge.answers, sources)
    return [source for source, described in asked.items() if described.grouping is not None]
