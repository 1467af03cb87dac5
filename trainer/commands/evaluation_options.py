"""What the commands that judge models share: options, and overrides of how they judge."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from pydantic import Field

from configs.loading import ConfigurationError, override_scenario, parse_override
from configs.scenario import Scenario
from configs.section import Metavar, Section

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
_SORTING_KEYS = ("evaluation.memory_megabytes", "evaluation.threads")
EVALUATE_KEYS = (*SLICE_KEYS, "evaluation.calibration_bins", *_SORTING_KEYS)
COMPARE_KEYS = (*SLICE_KEYS, *_SORTING_KEYS)
"""Keys of the scenario that a command goes by."""

_OPTIONS = {
    "evaluation.bootstrap_resamples": "--resamples",
    "evaluation.bootstrap_seed": "--seed",
}
"""Key -> the option of 'compare' that says the same there."""


class EvaluationOptions(Section):
    """Which examples a model is judged on."""

    part: Literal["train", "validation", "test"] = Field(
        "test", description="examples of which part of the split"
    )
    slices: Annotated[str | None, Metavar("NAMES")] = Field(
        None,
        description="also for groups of users and items: names joined by commas, e.g. "
        "item_popularity,item.genres, or 'all'",
    )


def with_evaluation(
    scenario: Scenario, overrides: Sequence[str], effective: Collection[str]
) -> Scenario:
    """A run's scenario, judged in another way.

    Args:
      scenario: the run's own.
      overrides: `evaluation.<key>=<value>`.
      effective: the keys that the command goes by.

    Raises:
      ConfigurationError: an override is of another section, unknown, without effect, or its value
        is not allowed.
    """
    assignments = dict(parse_override(override) for override in overrides)
    for key in assignments:
        if not key.startswith(_SECTION):
            raise ConfigurationError(
                f"override '{key}': a run keeps the configuration it was trained with; only "
                f"{_SECTION}<key> can be changed here"
            )
    judged = override_scenario(scenario, assignments) if assignments else scenario
    for key in assignments:
        if key not in effective:
            option = _OPTIONS.get(key)
            where = f"; 'compare' has {option} in its place" if option else ""
            raise ConfigurationError(f"{key} has no effect here; leave it out{where}")
    return judged
