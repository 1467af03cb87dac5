"""Makes the groups of one source: features, tree, names, and what became of every entity.

Linear algebra runs on one thread, because sums in another order have other last digits and could
put an entity on the other side of a cut: the same input gives the same groups on any machine of a
kind, however many cores it has.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from configs.knowledge import Grouping
from preprocessing.dead_letters import count_by_reason
from preprocessing.grouping.entities import entity_digests
from preprocessing.grouping.features import (
    Entities,
    Material,
    item_blocks,
    items_to_group,
    users_to_group,
)
from preprocessing.grouping.groups_file import entity_column
from preprocessing.grouping.plan import GROUPS_FILE, GroupingPlan
from preprocessing.grouping.tree import LEFT_OUT, Bisection, bisect, group_names
from preprocessing.records.contract import GROUP_ID
from preprocessing.records.layout import StepDirectory

_LEAK_RULE = "groups are made from the interactions [0, k_u) of each user only"


class GroupBuilder:
    """Makes the groups of several sources from the same material."""

    def __init__(self, material: Material):
        """Keeps the item features of the last source: the next one often has the same.

        Args:
          material: known interactions and items.
        """
        self._material = material
        self._settings: tuple[object, ...] | None = None
        self._blocks: list[np.ndarray] = []

    def build(self, plan: GroupingPlan, folder: Path) -> dict[str, Any]:
        """Writes the groups file and the dead letters of one source.

        Args:
          plan: how its entities are grouped.
          folder: an empty folder.

        Returns:
          What the manifest says.
        """
        material = self._material
        with threadpool_limits(limits=1):
            blocks = self._item_blocks(plan.grouping)
            if plan.kind == "item":
                entities = items_to_group(material.items, blocks)
            else:
                entities = users_to_group(
                    plan.kind, material.items, blocks, material.known_interactions
                )
            minimum = plan.minimum
            if plan.kind == "item":  # a small catalogue is one group, and nobody's secret
                minimum = min(minimum, max(1, int(entities.counted.sum())))
            featureless = int((~entities.vectors.any(axis=1)).sum())
            tree = bisect(
                entities.vectors,
                entities.counted,
                maximum=plan.grouping.maximum_size,
                minimum=minimum,
                seed=plan.grouping.seed,
            )
        described = _counts(plan, entities, tree) | {"without_features": featureless}
        if plan.kind == "item":
            described["outside_catalogue"] = material.items.outside_catalogue
        digests = entity_digests(plan.kind, entities.ids, material.known_interactions)
        names = group_names(entities.ids, digests, tree.group_of_row, tree.groups, plan.kind)
        column = entity_column("item" if plan.kind == "item" else "user")
        _write_groups(folder / GROUPS_FILE, column, entities, tree, names)
        letters = StepDirectory(folder).dead_letters
        material.dead_letters.write(letters)
        return {
            "counts": described,
            "groups": _sizes(tree),
            "leak_rule": {
                "statement": _LEAK_RULE,
                "interactions_read": material.records["interactions"],
                "interactions_used": len(material.known_interactions.user_of_row),
            },
            "records_read": material.records,
            "rejected": count_by_reason(letters),
        }

    def _item_blocks(self, grouping: Grouping) -> list[np.ndarray]:
        settings = (grouping.features, grouping.dimension, grouping.seed)
        if settings != self._settings:
            self._blocks = []
            self._blocks = list(
                item_blocks(self._material.items, self._material.known_interactions, grouping)
            )
            self._settings = settings
        return self._blocks


def _write_groups(
    path: Path, column: str, entities: Entities, tree: Bisection, names: list[str]
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([column, GROUP_ID])
        for entity_id, group in zip(
            entities.ids.to_pylist(), tree.group_of_row.tolist(), strict=True
        ):
            if group != LEFT_OUT:
                writer.writerow([entity_id, names[group]])


def _counts(plan: GroupingPlan, entities: Entities, tree: Bisection) -> dict[str, Any]:
    """What became of every entity: entities = grouped + left out."""
    grouped = int((tree.group_of_row != LEFT_OUT).sum())
    left_out = dict(entities.left_out)
    too_far = len(entities.ids) - grouped
    if plan.kind == "item":
        left_out["without_title_and_none_near"] = too_far
    else:
        left_out["fewer_than_minimum_group_users"] = too_far
    return {
        "entities": grouped + sum(left_out.values()),
        "grouped": grouped,
        "left_out": left_out,
    }


def _sizes(tree: Bisection) -> dict[str, Any]:
    sizes = np.bincount(tree.group_of_row[tree.group_of_row != LEFT_OUT], minlength=tree.groups)
    if not tree.groups:
        return {"number": 0, "depth": 0}
    return {
        "number": tree.groups,
        "smallest": int(sizes.min()),
        "median": float(np.median(sizes)),
        "largest": int(sizes.max()),
        "depth": tree.depth,
        "entities_per_call": round(float(sizes.sum()) / tree.groups, 2),
    }
