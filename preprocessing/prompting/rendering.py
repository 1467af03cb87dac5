"""Renders all prompts of a plan into a folder, in one pass over catalogue and interactions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from preprocessing.dead_letters import DeadLetter, write_dead_letters
from preprocessing.prompting.collective import CollectiveSource
from preprocessing.prompting.first_interactions import (
    FirstInteractions,
    InteractionShards,
    interactions_header,
)
from preprocessing.prompting.individual import UserPrompts, write_item_prompts
from preprocessing.prompting.plan import PromptPlan
from preprocessing.prompting.prompt_file import PromptFile, open_prompt_file
from preprocessing.prompting.reading import (
    catalogue_header,
    groups_header,
    profile_sentence,
    read_groups,
    read_items,
    read_profiles,
)
from preprocessing.prompting.scratch import Scratch
from preprocessing.prompting.template import Template
from preprocessing.prompting.titles import TitleDisplay
from preprocessing.records.layout import StepDirectory


class PromptRenderer:
    """Checks the input files' columns when it is made, and renders when it is told to."""

    def __init__(self, plan: PromptPlan):
        """Reads the headers.

        Args:
          plan: what to ask.

        Raises:
          ConfigurationError: a column or placeholder does not exist.
        """
        self._plan = plan
        data, profiles = plan.data, plan.prompts.profiles
        self._catalogue_header = catalogue_header(data.catalogue)
        self._interactions_header = interactions_header(data.interactions)
        self._groups_headers = {
            source: groups_header(source, plan.answers[source].entity, plan.groups_path(source))
            for source in plan.collective
        }
        self._profile: Template | None = profile_sentence(profiles) if profiles else None
        self._dead_letters: list[DeadLetter] = []

    def render(self, folder: Path) -> dict[str, Any]:
        """Writes prompts, the table of pseudonyms, changed groups and dead letters.

        Args:
          folder: an empty folder.

        Returns:
          What the manifest says: `sources` (what became of each entity and group), `written`
          (prompts and tokens by source and extraction), `inputs_read` (records of each input
          file), `rejected` (dead letters by reason).
        """
        self._dead_letters = []
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch_folder,
            Scratch(Path(scratch_folder) / "scratch.sqlite") as scratch,
            open_prompt_file(folder, scratch, self._plan.prompts.pseudonymous_custom_ids) as file,
        ):
            read = self._read_lookups(scratch)
            sources = self._ask_about_items(scratch, file)
            groups = {source: self._collective(source, scratch) for source in self._plan.collective}
            users = self._plan.individual("user")
            if users or groups:
                shards_folder = Path(scratch_folder)
                read |= self._ask_about_users(scratch, file, shards_folder, groups, sources)
            for source, group in groups.items():
                sources.setdefault(source, {})["collective"] = group.write(file, folder)
            written = [asdict(count) for count in file.counts()]
        write_dead_letters(StepDirectory(folder).dead_letters, self._dead_letters)
        return {
            "sources": sources,
            "written": written,
            "inputs_read": read,
            "rejected": self._rejected_by_reason(),
        }

    def _read_lookups(self, scratch: Scratch) -> dict[str, int]:
        plan, read = self._plan, {}
        display = TitleDisplay(plan.scenario, plan.data.catalogue, plan.prompts)
        letters, records = read_items(plan.data.catalogue, self._catalogue_header, display, scratch)
        self._dead_letters += letters
        read[plan.data.catalogue.path] = records
        for source, header in self._groups_headers.items():
            path = plan.groups_path(source)
            letters, records = read_groups(
                source, plan.answers[source].entity, path, header, scratch
            )
            self._dead_letters += letters
            read[path] = records
        if plan.prompts.profiles is not None and self._profile is not None:
            letters, records = read_profiles(plan.prompts.profiles, self._profile, scratch)
            self._dead_letters += letters
            read[plan.prompts.profiles.path] = records
        return read

    def _ask_about_items(self, scratch: Scratch, file: PromptFile) -> dict[str, dict[str, Any]]:
        sources = {}
        for source in self._plan.individual("item"):
            counts, letters = write_item_prompts(
                source, self._plan.scenario, scratch, file, self._plan.data.catalogue.path
            )
            self._dead_letters += letters
            sources[source] = {"individual": counts}
        return sources

    def _collective(self, source: str, scratch: Scratch) -> CollectiveSource:
        plan = self._plan
        kind: Literal["item", "liked", "disliked"] = "item"
        if plan.answers[source].entity == "user":
            kind = plan.prompts.user_groups[source]
        return CollectiveSource(source, kind, plan.scenario, plan.prompts, scratch)

    def _ask_about_users(
        self,
        scratch: Scratch,
        file: PromptFile,
        shards_folder: Path,
        groups: Mapping[str, CollectiveSource],
        sources: dict[str, dict[str, Any]],
    ) -> dict[str, int]:
        plan = self._plan
        interactions = plan.data.interactions
        shards = InteractionShards(interactions, self._interactions_header, shards_folder)
        asking = UserPrompts(plan.individual("user"), plan.scenario, plan.data.positive_rating)
        for seen in shards.first_interactions(plan.knowledge_history_cap):
            codes, titles = _items_of_rows(seen, scratch)
            if plan.individual("user"):
                asking.write(seen, titles, scratch.profiles(seen.users), file)
            positive = seen.ratings >= plan.data.positive_rating
            for group in groups.values():
                group.add(seen, codes, positive)
        for source in plan.individual("user"):
            sources.setdefault(source, {})["individual"] = dict(asking.counts)
        self._dead_letters += shards.dead_letters
        return {interactions.path: shards.records}

    def _rejected_by_reason(self) -> dict[str, dict[str, int]]:
        rejected: dict[str, dict[str, int]] = {}
        for letter in self._dead_letters:
            reasons = rejected.setdefault(letter["file"], {})
            reasons[letter["reason"]] = reasons.get(letter["reason"], 0) + 1
        return {file: dict(sorted(reasons.items())) for file, reasons in sorted(rejected.items())}


def _items_of_rows(seen: FirstInteractions, scratch: Scratch) -> tuple[np.ndarray, list[str]]:
    """[rows] code (-1 for an item without title) and title of each interaction's item."""
    codes = scratch.codes(seen.items)
    titles = scratch.titles(np.unique(codes[codes >= 0]).tolist())
    shown = [titles.get(code, "") for code in codes.tolist()]
    untitled = np.array([not title for title in shown], dtype=bool)
    return np.where(untitled, -1, codes), shown
