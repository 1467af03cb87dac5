"""Which slices there are in a scenario, and what they read of the examples."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.records.contract import POSITION, PROFILE_PREFIX
from preprocessing.records.layout import WorkDirectory

ALL = "all"
USER_ACTIVITY = "user_activity"
ITEM_POPULARITY = "item_popularity"
COLD_USER = "cold_user"
COLD_ITEM = "cold_item"
KNOWLEDGE = "knowledge."
ITEM = "item."
PROFILE = "profile."

SLICES_HELP = """\
slices:
  user_activity        the user's earlier interactions (evaluation.user_activity_bounds)
  item_popularity      the item's training interactions (evaluation.item_popularity_bounds)
  cold_user            cold: fewer than evaluation.cold_user_below earlier interactions; warm
  cold_item            cold: no training interaction; warm
  knowledge.<source>   individual, group or missing: where the item's or user's answer comes from
  item.<attribute>     an attribute of data.catalogue; an item of two genres counts for both
  profile.<attribute>  an attribute of data.profiles"""


def chosen_slices(text: str, scenario: Scenario) -> list[str]:
    """The slices that a user asks for.

    Args:
      text: names joined by commas, or "all".
      scenario: says which there are.

    Raises:
      ConfigurationError: there is no such slice.
    """
    if text == ALL:
        return slice_names(scenario)
    known = [
        *slice_names(scenario),
        *(f"{KNOWLEDGE}{source}" for source in scenario.knowledge.answers),
    ]
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{close[0]}'?" if close else ""
            raise ConfigurationError(
                f"--slices: there is no slice '{name}'; there are "
                f"{', '.join(dict.fromkeys(known))}.{hint}"
            )
    if not names:
        raise ConfigurationError("--slices names no slice; write 'all', or names joined by commas")
    return names


def slice_names(scenario: Scenario) -> list[str]:
    """All slices of a scenario; of knowledge sources those that are in the work directory."""
    directory = WorkDirectory(scenario.work_dir)
    profiles = scenario.data.profiles
    return [
        USER_ACTIVITY,
        ITEM_POPULARITY,
        COLD_USER,
        COLD_ITEM,
        *(
            f"{KNOWLEDGE}{source}"
            for source in scenario.knowledge.answers
            if directory.knowledge(source).manifest.exists()
        ),
        *(f"{ITEM}{attribute}" for attribute in scenario.data.catalogue.attributes),
        *(f"{PROFILE}{attribute}" for attribute in (profiles.attributes if profiles else ())),
    ]


def features_read(names: Sequence[str]) -> list[str]:
    """Features of the examples that slices are made by, beside the ids."""
    features = [POSITION] if {USER_ACTIVITY, COLD_USER} & set(names) else []
    return features + [
        f"{PROFILE_PREFIX}{name.removeprefix(PROFILE)}"
        for name in names
        if name.startswith(PROFILE)
    ]
