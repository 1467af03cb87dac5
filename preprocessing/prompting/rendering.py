"""Renders all prompts of a plan into a folder, in one pass over catalogue and interactions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from preprocessing.dead_letter_runs import DeadLetterRuns
from preprocessing.dead_letters import count_by_reason
from preprocessing.interactions.catalogue import open_catalogue
from preprocessing.interactions.profiles import open_profiles
from preprocessing.interactions.reading import open_interactions
from preprocessing.knowledge.groups import open_groups
from preprocessing.prompting.collective import CollectiveSource
from preprocessing.prompting.first_interactions import FirstInteractions, InteractionShards
from preprocessing.prompting.individual import UserPrompts, write_item_prompts
from preprocessing.prompting.plan import PromptPlan
from preprocessing.prompting.prompt_file import PromptFile, open_prompt_file
from preprocessing.prompting.reading import (
    profile_sentence,
    read_groups,
    read_items,
    read_profiles,
)
from preprocessing.prompting.scratch import Scratch
from preprocessing.prompting.template import Template
from preprocessing.prompting.titles import TitleDisplay
from preprocessing.records.layout import StepDirectory
from preprocessing.tables.table_reader import TableReader


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
        data = plan.data
        self._catalogue = open_catalogue(data.catalogue)
        self._interactions = open_interactions(data, plan.split)
        self._groups = {
            source: open_groups(
                plan.groups[source],
                plan.answers[source].entity,
                f"knowledge.answers.{source}.groups",
            )
            for source in plan.collective
        }
        self._sentence: Template | None = None
        if plan.prompts.profile_sentence is not None:
            self._sentence = profile_sentence(plan.prompts.profile_sentence, data.profiles)
        self._profiles: TableReader | None = None
        if self._sentence and data.profiles:
            self._profiles = open_profiles(data.profiles)

    def render(self, folder: Path) -> dict[str, Any]:
        """Writes prompts, the table of pseudonyms, changed groups and dead letters.

        Args:
          folder: an empty folder.

        Returns:
          What the manifest says: `sources` (what became of each entity and group), `written`
          (prompts and tokens by source and extraction), `inputs_read` (records of each input
          file), `rejected` (dead letters by reason).
        """
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch_folder,
            Scratch(Path(scratch_folder) / "scratch.sqlite") as scratch,
            open_prompt_file(folder, scratch, self._plan.prompts.pseudonymous_custom_ids) as file,
        ):
            rejected = DeadLetterRuns(Path(scratch_folder) / "dead_letters")
            read = self._read_lookups(scratch, rejected)
            shards = None
            if self._needs_log:
                shards = InteractionShards(
                    self._plan.data, self._interactions, Path(scratch_folder), rejected
                )
                read[_named(self._interactions)] = shards.records
            kept_items = shards.kept_items if shards else None
            sources = self._ask_about_items(scratch, file, kept_items, rejected)
            groups = {
                source: self._collective(source, scratch, kept_items)
                for source in self._plan.collective
            }
            if shards is not None:
                self._ask_about_users(scratch, file, shards, groups, sources)
            for source, group in groups.items():
                sources.setdefault(source, {})["collective"] = group.write(file, folder)
            written = [asdict(count) for count in file.counts()]
            letters = StepDirectory(folder).dead_letters
            rejected.write(letters)
        return {
            "sources": sources,
            "written": written,
            "inputs_read": read,
            "rejected": count_by_reason(letters),
        }

    def _read_lookups(self, scratch: Scratch, rejected: DeadLetterRuns) -> dict[str, int]:
        plan, read = self._plan, {}
        display = TitleDisplay(plan.scenario, plan.data.catalogue.attributes, plan.prompts)
        letters, records = read_items(plan.data.catalogue, self._catalogue, display, scratch)
        rejected.add(letters)
        read[_named(self._catalogue)] = records
        for source, reader in self._groups.items():
            letters, records = read_groups(source, plan.answers[source].entity, reader, scratch)
            rejected.add(letters)
            read[_named(reader)] = records
        if plan.data.profiles and self._profiles and self._sentence:
            letters, records = read_profiles(
                plan.data.profiles, self._profiles, self._sentence, scratch
            )
            rejected.add(letters)
            read[_named(self._profiles)] = records
        return read

    @property
    def _needs_log(self) -> bool:
        """True when prompts depend on interactions, be it only on which items are left."""
        plan = self._plan
        filters_items = plan.data.filter.minimum_item_interactions > 1
        return bool(plan.individual("user") or plan.collective) or filters_items

    def _ask_about_items(
        self,
        scratch: Scratch,
        file: PromptFile,
        kept_items: list[str] | None,
        rejected: DeadLetterRuns,
    ) -> dict[str, dict[str, Any]]:
        sources = {}
        for source in self._plan.individual("item"):
            counts, letters = write_item_prompts(
                source, self._plan.scenario, scratch, file, self._catalogue.names, kept_items
            )
            rejected.add(letters)
            sources[source] = {"individual": counts}
        return sources

    def _collective(
        self, source: str, scratch: Scratch, kept_items: list[str] | None
    ) -> CollectiveSource:
        plan = self._plan
        kind = plan.kinds[source]
        return CollectiveSource(source, kind, plan.scenario, plan.prompts, scratch, kept_items)

    def _ask_about_users(
        self,
        scratch: Scratch,
        file: PromptFile,
        shards: InteractionShards,
        groups: Mapping[str, CollectiveSource],
        sources: dict[str, dict[str, Any]],
    ) -> None:
        plan = self._plan
        rated = plan.data.interactions.columns.rating is not None
        asking = UserPrompts(plan.individual("user"), plan.scenario, rated)
        for seen in shards.first_interactions(plan.split.knowledge_history_cap):
            codes, titles = _items_of_rows(seen, scratch)
            if plan.individual("user"):
                asking.write(seen, titles, scratch.profiles(seen.users), file)
            for group in groups.values():
                group.add(seen, codes, seen.liked)
        for source in plan.individual("user"):
            sources.setdefault(source, {})["individual"] = dict(asking.counts)


def _named(reader: TableReader) -> str:
    """What a table is called in counts: its file, or the first one and how many there are."""
    first, *others = reader.names
    return f"{first} and {len(others)} more" if others else first


def _items_of_rows(seen: FirstInteractions, scratch: Scratch) -> tuple[np.ndarray, list[str]]:
    """[rows] code (-1 for an item without title) and title of each interaction's item."""
    codes = scratch.codes(seen.items)
    titles = scratch.titles(np.unique(codes[codes >= 0]).tolist())
    shown = [titles.get(code, "") for code in codes.tolist()]
    untitled = np.array([not title for title in shown], dtype=bool)
    return np.where(untitled, -1, codes), shown
