"""Collective prompts: one for each group, from the titles that stand for it."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.prompting import Prompts
from preprocessing.grouping.kinds import Kind
from preprocessing.knowledge.groups import entity_column
from preprocessing.prompting.first_interactions import FirstInteractions
from preprocessing.prompting.individual import factor_list
from preprocessing.prompting.lift import GroupCounts
from preprocessing.prompting.merging import Merging, merge_groups
from preprocessing.prompting.prompt_file import PromptFile
from preprocessing.prompting.prompt_scenario import PromptScenario
from preprocessing.prompting.scratch import Scratch
from preprocessing.prompting.template import Template
from preprocessing.records.contract import COLLECTIVE, GROUP_ID


def in_natural_order(names: Sequence[str]) -> list[str]:
    """Names with numbers in them in the order of the numbers: 2 before 10."""
    return sorted(names, key=lambda name: (_pieces(name), name))


def _pieces(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]


class CollectiveSource:
    """Groups of one source: what their members liked, and the prompts about them."""

    def __init__(
        self,
        source: str,
        kind: Kind,
        scenario: PromptScenario,
        prompts: Prompts,
        scratch: Scratch,
        kept_items: Sequence[str] | None = None,
    ):
        """Reads the groups from the scratch tables.

        Args:
          source: name of the source.
          kind: groups of items, or of users by what they liked or disliked.
          scenario: factors and templates.
          prompts: sizes and smoothing.
          scratch: holds items and groups.
          kept_items: the only items to show, because `data.filter` leaves out all others; all
            items if not given.
        """
        self._source = source
        self._kind = kind
        self._scenario = scenario
        self._prompts = prompts
        self._scratch = scratch
        self._members = scratch.group_sizes(source)
        self._groups = in_natural_order(list(self._members))
        self._number = {name: number for number, name in enumerate(self._groups)}
        self._counts = GroupCounts(len(self._groups), scratch.item_count)
        self._group_of_item = np.full(scratch.item_count, -1, dtype=np.int64)
        self._sizes = np.zeros(len(self._groups), dtype=np.int64)
        if kind == "item":
            for code, group_id in scratch.groups_of_items(source):
                self._group_of_item[code] = self._number[group_id]
            if kept_items is not None:
                codes = scratch.codes(kept_items)
                kept = np.isin(np.arange(scratch.item_count), codes)
                self._group_of_item[~kept] = -1
            self._add_sizes(self._group_of_item)

    def add(self, seen: FirstInteractions, codes: np.ndarray, positive: np.ndarray) -> None:
        """Counts interactions of some users.

        Args:
          seen: the interactions [0, k_u) of the users.
          codes: [rows] item, -1 for one without title.
          positive: [rows] True where the user liked the item.
        """
        counts = (codes >= 0) & (positive if self._kind != "disliked" else ~positive)
        users, items = seen.user_of_row[counts], codes[counts]
        if self._kind == "item":
            self._counts.add(self._group_of_item[items], items)
            return
        names = self._scratch.groups_of(self._source, seen.users)
        group_of_user = np.array(
            [-1 if name is None else self._number[name] for name in names], dtype=np.int64
        )
        self._counts.add(group_of_user[users], items)
        self._add_sizes(group_of_user[np.unique(users)])

    def _add_sizes(self, groups: np.ndarray) -> None:
        """Counts what makes a group large enough: items with a title, or contributing users."""
        self._sizes += np.bincount(groups[groups >= 0], minlength=len(self._sizes))

    def write(self, file: PromptFile, folder: Path) -> dict[str, Any]:
        """Writes the prompts and, if groups were merged, the groups file that fits them.

        Args:
          file: takes the prompts.
          folder: takes `groups_<source>.csv`.

        Returns:
          Counts; groups = prompts + merged + suppressed.
        """
        merging, ranked = self._merge_and_rank()
        entity = "item" if self._kind == "item" else "user"
        file.start(self._source, entity, COLLECTIVE)
        prompts = 0
        for number, name in enumerate(self._groups):
            if merging.target[number] == number and number not in merging.suppressed:
                codes = ranked[number][: self._prompts.representative_titles].tolist()
                titles = self._scratch.titles(codes)
                prompt = self._prompt([titles[code] for code in codes])
                file.write(self._source, entity, COLLECTIVE, name, prompt)
                prompts += 1
        merged = [
            {
                "group": name,
                "into": self._groups[merging.target[number]],
                "members": self._members[name],
            }
            for number, name in enumerate(self._groups)
            if merging.target[number] != number
        ]
        if merged:
            self._write_groups(folder / f"groups_{self._source}.csv", entity, merging)
        return {
            "groups": len(self._groups),
            "prompts": prompts,
            "merged": merged,
            "suppressed": [self._groups[number] for number in merging.suppressed],
        }

    def _merge_and_rank(self) -> tuple[Merging, list[np.ndarray]]:
        minimum = 1 if self._kind == "item" else self._prompts.minimum_group_users
        merging = merge_groups(self._sizes, minimum, self._counts.rows())
        ranked = self._counts.ranked(merging.target, self._prompts.lift_smoothing)
        if self._kind == "item":
            ranked = self._with_unrated_items(ranked)
        return merging, ranked

    def _with_unrated_items(self, ranked: list[np.ndarray]) -> list[np.ndarray]:
        """Adds the items that nobody liked, in the catalogue's order, to each group of items."""
        order = np.argsort(self._group_of_item, kind="stable")
        ends = np.searchsorted(self._group_of_item[order], np.arange(len(ranked) + 1))
        return [
            np.concatenate([liked, np.setdiff1d(order[start:end], liked)])
            for liked, start, end in zip(ranked, ends[:-1], ends[1:], strict=True)
        ]

    def _prompt(self, titles: list[str]) -> str:
        templates, factors = self._scenario.templates, self._scenario.factors
        text, listed = {
            "item": (templates.item_group, factors.item),
            "liked": (templates.users_by_liked, factors.user),
            "disliked": (templates.users_by_disliked, factors.user),
        }[self._kind]
        return Template(text).fill(
            {
                "noun": self._scenario.noun.singular,
                "nouns": self._scenario.noun.plural,
                "titles": ", ".join(titles),
                "factors": factor_list(listed),
            }
        )

    def _write_groups(self, path: Path, entity: str, merging: Merging) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([entity_column(entity), GROUP_ID])
            for entity_id, group_id in self._scratch.members(self._source):
                target = self._groups[merging.target[self._number[group_id]]]
                writer.writerow([entity_id, target])
