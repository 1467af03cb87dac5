"""What the commands that judge models share: options, and overrides of how they judge."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from configs.loading import ConfigurationError, override_scenario, parse_override
from configs.scenario import Scenario

SLICE_KEYS = (
    "evaluation.user_activity_bounds",
    "evaluation.item_popularity_bounds",
    "evaluation.cold_user_below",
    "evaluation.number_groups",
    "evaluation.largest_groups",
    "evaluation.sparse_below",
)
"""Keys of the scenario that say how slices are made."""

_SECTION = "evaluation."


def add_part_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--part`."""
    parser.add_argument(
        "--part",
        choices=("train", "validation", "test"),
        default="test",
        help="examples of which part of the split (default test)",
    )


def add_slices_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--slices`."""
    parser.add_argument(
        "--slices",
        metavar="NAMES",
        help="also for groups of users and items: names joined by commas, e.g. "
        "item_popularity,item.genres, or 'all'",
    )


def with_evaluation(scenario: Scenario, overrides: Sequence[str]) -> Scenario:
    """A run's scenario, judged in another way.

    Args:
      scenario: the run's own.
      overrides: `evaluation.<key>=<value>`.

    Raises:
      ConfigurationError: an override is of another section, unknown, or its value is not allowed.
    """
    assignments = dict(parse_override(override) for override in overrides)
    for key in assignments:
        if not key.startswith(_SECTION):
            raise ConfigurationError(
                f"override '{key}': a run keeps the configuration it was trained with; only "
                f"{_SECTION}<key> can be changed here"
            )
    return override_scenario(scenario, assignments) if assignments else scenario
