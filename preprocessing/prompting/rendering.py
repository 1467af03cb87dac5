"""The prompts of single items and users and of groups, and the file they are written into."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from configs.prompting import Prompts
from preprocessing.answers.completion import estimated_tokens
from preprocessing.answers.prompts import JSON_SCHEMA
from preprocessing.answers.record import INTERACTIONS_SEEN, MEMBERS, custom_id, prompt_sha256
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.grouping.groups_file import entity_column
from preprocessing.grouping.plan import Kind
from preprocessing.interactions.first_interactions import FirstInteractions
from preprocessing.prompt_templates import Template, Templates
from preprocessing.prompting.questions import Question
from preprocessing.prompting.reading import Scratch
from preprocessing.prompting.token_costs import PromptCount
from preprocessing.records.contract import GROUP_ID, INDIVIDUAL

PROMPTS = "prompts.jsonl"
CUSTOM_IDS = "custom_ids.csv"
_PSEUDONYM_CHARACTERS = 32


class PromptFile:
    """Writes prompts and counts them.

    A record has custom_id, source, entity_id, extraction, model (null), prompt and prompt_sha256,
    and where there are any, interactions_seen, json_schema of the answer, and members of the group.

    A batch file carries custom_ids to the LLM's provider, who must not learn user ids from them.
    With pseudonyms, the custom_id of a user's prompt is made from the hash of the prompt: the
    provider, who sees the prompt, learns nothing from it, no key has to be kept, and the same
    prompt has the same custom_id in every run. A second user with the very same prompt gets "-2".
    The table of pseudonyms leads back to the users; it stays in the house, like the file of
    prompts itself.
    """

    def __init__(self, prompts: TextIO, custom_ids: TextIO, scratch: Scratch, pseudonyms: bool):
        """Starts the table of pseudonyms.

        Args:
          prompts: open file for the prompts.
          custom_ids: open file for the table.
          scratch: remembers pseudonyms in use.
          pseudonyms: False writes user ids into custom_ids.
        """
        self._prompts = prompts
        self._scratch = scratch
        self._pseudonyms = pseudonyms
        self._table = csv.writer(custom_ids, lineterminator="\n")
        self._table.writerow(["custom_id", "source", "entity_id"])
        self._counts: dict[tuple[str, str, str], PromptCount] = {}

    def start(self, question: Question) -> None:
        """Makes a source appear in the counts, also if it gets no prompt."""
        asked = (question.source, question.entity, question.extraction)
        self._counts.setdefault(asked, PromptCount(*asked))

    def write(
        self,
        question: Question,
        entity_id: str,
        values: Mapping[str, str],
        *,
        interactions_seen: int | None = None,
        members: Sequence[str] = (),
    ) -> None:
        """Writes one prompt.

        Args:
          question: what is asked.
          entity_id: item, user or group id.
          values: of the placeholders that the question leaves open.
          interactions_seen: how many of the user's first interactions the prompt is made from.
          members: item ids of the group whose members the prompt lists, in its order.
        """
        source, extraction = question.source, question.extraction
        prompt = question.prompt(values, len(members))
        sha256 = prompt_sha256(prompt)
        name = custom_id(source, extraction, entity_id)
        if self._pseudonyms and question.entity == "user" and extraction == INDIVIDUAL:
            name = self._pseudonym(source, sha256)
            self._table.writerow([name, source, entity_id])
        record: dict[str, object] = {
            "custom_id": name,
            "source": source,
            "entity_id": entity_id,
            "extraction": extraction,
            "model": None,
            "prompt": prompt,
            "prompt_sha256": sha256,
        }
        if interactions_seen is not None:
            record[INTERACTIONS_SEEN] = interactions_seen
        if (schema := question.schema(len(members))) is not None:
            record[JSON_SCHEMA] = schema
        if members:
            record[MEMBERS] = list(members)
        self._prompts.write(json.dumps(record, ensure_ascii=False) + "\n")
        self.start(question)
        names = question.names(len(members))
        count = self._counts[source, question.entity, extraction]
        count.prompts += 1
        count.prompt_tokens += estimated_tokens(prompt)
        count.texts += question.is_prose
        count.names += names
        count.most_names = max(count.most_names, names)

    def counts(self) -> list[PromptCount]:
        """What was written, by source and extraction, in the order in which they started."""
        return list(self._counts.values())

    def _pseudonym(self, source: str, sha256: str) -> str:
        name = custom_id(source, INDIVIDUAL, sha256[:_PSEUDONYM_CHARACTERS])
        times = self._scratch.times_asked(name)
        return name if times == 1 else f"{name}-{times}"


@contextmanager
def open_prompt_file(folder: Path, scratch: Scratch, pseudonyms: bool) -> Iterator[PromptFile]:
    """Opens the files of a step's folder; the table of pseudonyms is for the owner's eyes only."""
    table = folder / CUSTOM_IDS
    table.touch(mode=0o600)
    with (
        (folder / PROMPTS).open("w", encoding="utf-8", newline="\n") as prompts,
        table.open("w", encoding="utf-8", newline="") as custom_ids,
    ):
        yield PromptFile(prompts, custom_ids, scratch, pseudonyms)


def write_item_prompts(
    question: Question,
    scratch: Scratch,
    file: PromptFile,
    catalogue_files: Sequence[str],
    kept_items: Sequence[str] | None = None,
) -> tuple[dict[str, int], list[DeadLetter]]:
    """Writes a prompt for each item of the catalogue.

    Args:
      question: what is asked about each.
      scratch: holds the items.
      file: takes the prompts.
      catalogue_files: the catalogue's files by index, for dead letters.
      kept_items: the only items to ask about, because `data.filter` leaves out all others; all
        items if not given.

    Returns:
      Counts, and dead letters for items without title: nothing can be asked about them.
    """
    file.start(question)
    dead_letters = []
    asked = np.full(scratch.item_count, kept_items is None)
    if kept_items is not None:
        codes = scratch.codes(kept_items)
        asked[codes[codes >= 0]] = True
    for code, (item_id, title, (catalogue_file, line)) in enumerate(scratch.items()):
        if not asked[code]:
            continue
        if title:
            file.write(question, item_id, {"title": title})
        else:
            detail = f"no title, so no prompt of source '{question.source}'"
            path = catalogue_files[catalogue_file]
            dead_letters.append(dead_letter(path, line, "missing_title", detail))
    counts = {
        "items": scratch.item_count,
        "prompts": int(asked.sum()) - len(dead_letters),
        "without_title": len(dead_letters),
        "filtered_out": int((~asked).sum()),
    }
    return counts, dead_letters


class UserPrompts:
    """Writes a prompt for each user from the user's first k_u interactions, oldest first.

    Interactions with an item without title are left out of the text, so k_u is written beside it
    (`interactions_seen`): the leak check could not tell from the text how far the prompt reaches.
    """

    def __init__(self, questions: Sequence[Question], templates: Templates, rated: bool):
        """Prepares the templates.

        Args:
          questions: what is asked about each user.
          templates: of history entries.
          rated: the log has ratings; without, those of `FirstInteractions` repeat the labels and
            must not pass for stars.

        Attributes:
          counts: users, prompts, users without prompt by reason, and interactions not shown.
        """
        self._questions = questions
        self._entry = Template(
            templates.history_entry if rated else templates.history_entry_without_rating
        )
        self.counts: Counter[str] = Counter(
            users=0, prompts=0, without_history=0, without_titles=0, interactions_without_title=0
        )

    def write(
        self,
        seen: FirstInteractions,
        titles: Sequence[str],
        profiles: Mapping[str, str],
        file: PromptFile,
    ) -> None:
        """Writes the prompts of some users.

        Args:
          seen: the interactions [0, k_u) of the users.
          titles: [rows] name of each interaction's item, empty if it has none.
          profiles: profile sentence by user, for users who have one.
          file: takes the prompts.
        """
        for question in self._questions:
            file.start(question)
        ends = np.searchsorted(seen.user_of_row, np.arange(len(seen.users)), side="right").tolist()
        start = 0
        for user_id, end in zip(seen.users, ends, strict=True):
            self.counts["users"] += 1
            history = [
                self._shown(titles[row], float(seen.ratings[row]), bool(seen.liked[row]))
                for row in range(start, end)
                if titles[row]
            ]
            self.counts["interactions_without_title"] += end - start - len(history)
            if history:
                self.counts["prompts"] += 1
                profile = profiles.get(user_id)
                values = {
                    "profile": f"{profile} " if profile else "",
                    "history": "; ".join(history),
                }
                for question in self._questions:
                    file.write(question, user_id, values, interactions_seen=end - start)
            else:
                self.counts["without_titles" if end > start else "without_history"] += 1
            start = end

    def _shown(self, title: str, rating: float, liked: bool) -> str:
        opinion = "liked" if liked else "disliked"
        return self._entry.fill({"title": title, "rating": f"{rating:.10g}", "opinion": opinion})


def smoothed_lift(observed: np.ndarray, expected: np.ndarray, smoothing: float) -> np.ndarray:
    """(observed + smoothing) / (expected + smoothing), element by element."""
    return (observed + smoothing) / (expected + smoothing)


class GroupCounts:
    """Numbers of interactions by group and item; memory grows with the pairs that occur."""

    def __init__(self, groups: int, items: int):
        """Starts with no interactions.

        Args:
          groups: number of groups.
          items: number of items in the catalogue.
        """
        self._groups = groups
        self._items = items
        self._pairs = np.empty(0, dtype=np.int64)
        self._counts = np.empty(0, dtype=np.int64)
        self._overall = np.zeros(items, dtype=np.int64)

    def add(self, groups: np.ndarray, items: np.ndarray) -> None:
        """Counts interactions.

        Args:
          groups: [rows] group, -1 for none; an interaction without group counts overall.
          items: [rows] item.
        """
        self._overall += np.bincount(items, minlength=self._items)
        pairs = (groups * self._items + items)[groups >= 0]
        self._pairs, places = np.unique(np.concatenate([self._pairs, pairs]), return_inverse=True)
        weights = np.concatenate([self._counts, np.ones(len(pairs), dtype=np.int64)])
        # Counts stay far below 2^53, where float64 sums are exact.
        self._counts = np.bincount(places, weights=weights).astype(np.int64)

    def rows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Group, item and number of interactions, sorted by group, then item."""
        return self._pairs // self._items, self._pairs % self._items, self._counts

    def ranked(self, target: np.ndarray, smoothing: float) -> list[np.ndarray]:
        """Items of each group: highest lift, then most interactions, then first in the catalogue.

        Args:
          target: [groups] the group into which each is merged, itself for one that stays.
          smoothing: s of the formula.
        """
        group, item, count = self.rows()
        pairs, places = np.unique(target[group] * self._items + item, return_inverse=True)
        observed = np.bincount(places, weights=count, minlength=len(pairs))
        group, item = pairs // self._items, pairs % self._items
        totals = np.bincount(group, weights=observed, minlength=self._groups)
        expected = totals[group] * self._overall[item] / max(1, self._overall.sum())
        lifts = smoothed_lift(observed, expected, smoothing)
        order = np.lexsort((item, -observed, -lifts, group))
        ends = np.searchsorted(group[order], np.arange(self._groups + 1))
        return [
            item[order[start:end]]
            for start, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
        ]


@dataclass(frozen=True)
class Merging:
    """Where the groups go.

    Attributes:
      target: [groups] the group into which each is merged, itself for one that stays.
      suppressed: groups that stay and are still too small, so nothing may be asked about them.
    """

    target: np.ndarray
    suppressed: list[int]


def merge_groups(
    sizes: np.ndarray,
    minimum: int,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Merging:
    """Merges every group smaller than a minimum into the nearest group that is large enough.

    Nearest is the one with the largest cosine between the groups' counts by item; a group without
    counts in common with any goes to the largest one. Where no group is large enough, all are
    merged into the largest, which is suppressed if that does not make it large enough.

    Args:
      sizes: [groups] what must reach the minimum: contributing users, or items with a title.
      minimum: at least 1.
      rows: group, item and count of each pair that occurs, sorted by group, then item.

    Returns:
      Where the groups go. It depends on nothing but the arguments.
    """
    target = np.arange(len(sizes))
    if not len(sizes):
        return Merging(target, [])
    largest = int(np.argmax(sizes))
    small = np.flatnonzero(sizes < minimum)
    if len(small) == len(sizes):
        target[:] = largest
        return Merging(target, [largest] if sizes.sum() < minimum else [])
    target[small] = largest
    if len(small):
        _merge_into_nearest(target, small, sizes >= minimum, rows)
    return Merging(target, [])


def _merge_into_nearest(
    target: np.ndarray,
    small: np.ndarray,
    stays: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    group, item, count = rows
    norms = np.sqrt(np.bincount(group, weights=count.astype(np.float64) ** 2, minlength=len(stays)))
    kept = np.flatnonzero(stays[group])
    kept = kept[np.argsort(item[kept], kind="stable")]
    kept_items = item[kept]
    starts = np.searchsorted(group, small, side="left")
    ends = np.searchsorted(group, small, side="right")
    for number, start, end in zip(small.tolist(), starts.tolist(), ends.tolist(), strict=True):
        first = np.searchsorted(kept_items, item[start:end], side="left")
        last = np.searchsorted(kept_items, item[start:end], side="right")
        shared = np.concatenate([kept[a:b] for a, b in zip(first, last, strict=True)] or [kept[:0]])
        own_count = np.repeat(count[start:end], last - first)
        products = np.bincount(
            group[shared], weights=own_count * count[shared], minlength=len(stays)
        )
        cosines = products / np.maximum(norms, 1e-12)
        if cosines.max() > 0:
            target[number] = int(np.argmax(cosines))


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
        question: Question,
        kind: Kind,
        prompts: Prompts,
        scratch: Scratch,
        kept_items: Sequence[str] | None = None,
    ):
        """Reads the groups from the scratch tables.

        Args:
          question: what is asked about each group.
          kind: groups of items, or of users by what they liked or disliked.
          prompts: sizes and smoothing.
          scratch: holds items and groups.
          kept_items: the only items to show, because `data.filter` leaves out all others; all
            items if not given.
        """
        self._question = question
        self._source = source = question.source
        self._kind = kind
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
        if self._question.lists_members:
            return
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
        file.start(self._question)
        prompts = 0
        for number, name in enumerate(self._groups):
            if merging.target[number] == number and number not in merging.suppressed:
                self._ask(name, ranked[number], file)
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

    def _ask(self, group: str, ranked: np.ndarray, file: PromptFile) -> None:
        """Writes the prompt of a group: its representative titles, or all of them by number."""
        if self._question.lists_members:
            codes = np.sort(ranked).tolist()
            titles, ids = self._scratch.titles(codes), self._scratch.ids(codes)
            listed = "; ".join(
                f"{number}. {titles[code]}" for number, code in enumerate(codes, start=1)
            )
            members = [ids[code] for code in codes]
            file.write(self._question, group, {"titles": listed}, members=members)
            return
        codes = ranked[: self._prompts.representative_titles].tolist()
        titles = self._scratch.titles(codes)
        file.write(self._question, group, {"titles": ", ".join(titles[code] for code in codes)})

    def _write_groups(self, path: Path, entity: str, merging: Merging) -> None:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow([entity_column(entity), GROUP_ID])
            for entity_id, group_id in self._scratch.members(self._source):
                target = self._groups[merging.target[self._number[group_id]]]
                writer.writerow([entity_id, target])
