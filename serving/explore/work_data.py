"""What a work directory and the answers of its scenario say, as the explorer's pages ask for it."""

from __future__ import annotations

import functools
import heapq
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from configs.command_line import CommandError
from configs.scenario import Scenario
from preprocessing.answers.checks import AnswerText, Thresholds, check_text
from preprocessing.answers.formats import Expected
from preprocessing.answers.reading import AnswerFile, SourceReader, answer_files, examine
from preprocessing.answers.record import (
    Answer,
    RejectedAnswer,
    factor_text,
    numbered_lines,
    recorded_source,
)
from preprocessing.links.linking import LINKS_FILE, read_links, rows_with
from preprocessing.records.contract import (
    COLLECTIVE,
    CTR,
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    INDIVIDUAL,
    ITEM_ID,
    LABEL,
    POSITION,
    PROFILE_PREFIX,
    RATING,
    USER_ID,
    USER_LOG_COUNT,
    USER_MEAN_RATING,
    USER_SHARE_LIKED,
    features_of,
)
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.knowledge import CentredVectors, KnowledgeVectors, read_knowledge
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import as_text, example_dataset
from preprocessing.records.provenance import as_written
from serving.client.inputs import UserRequest

_READ_BATCH = 4096

Result = TypeVar("Result")

_OF_OTHERS = ("source_mismatch", "extraction_mismatch")
"""Records of a file that another source, or the other extraction, reads."""


class UnknownEntity(CommandError):
    """There is no such item, user or source."""


def computed_once(lock: threading.RLock, compute: Callable[..., Result]) -> Callable[..., Result]:
    """A function whose results are kept, and are computed by one thread at a time."""
    cached = functools.cache(compute)

    @functools.wraps(compute)
    def locked(*arguments: Any) -> Result:
        with lock:
            return cached(*arguments)

    return locked


class Items:
    """The catalogue.

    Attributes:
      ids: [items].
      titles: [items], "" where there is none.
      rating_counts: int [items], ratings in training.
      categorical: attribute -> values of each item.
      numeric: attribute -> [items], NaN where it is not known.
      row_of: id -> row.
    """

    def __init__(self, path: Path):
        """Reads the items of a work directory."""
        attributes = read_item_attributes(path)
        self.ids = attributes.item_ids
        self.titles = attributes.titles
        self.rating_counts = attributes.rating_count
        self.categorical = attributes.categorical
        self.numeric = attributes.numeric
        self.row_of = {item: row for row, item in enumerate(self.ids)}
        named = zip(self.ids, self.titles, strict=True)
        self._searched = [(title or item).lower() for item, title in named]

    def title(self, item: str | None) -> str | None:
        """An item's title; None where there is none."""
        row = self.row_of.get(item) if item is not None else None
        return None if row is None else self.titles[row] or None

    def attributes(self, item: str) -> dict[str, str]:
        """Attributes as people read them, those that are known."""
        row = self.row_of.get(item)
        if row is None:
            return {}
        texts = {name: ", ".join(values[row]) for name, values in self.categorical.items()}
        numbers = {
            name: f"{values[row]:g}"
            for name, values in self.numeric.items()
            if not np.isnan(values[row])
        }
        return {name: text for name, text in {**texts, **numbers}.items() if text}

    def search(self, text: str, most: int) -> list[str]:
        """Items of this id or with a title that contains a text; without a title, an id that does.

        First those of this id or title, then those whose title begins so; of equal ones those with
        the most ratings.
        """
        wanted = text.lower()
        same_id = self.row_of.get(text)
        rows = (
            row for row, title in enumerate(self._searched) if wanted in title or row == same_id
        )

        def sort_key(row: int) -> tuple[bool, bool, int]:
            title = self._searched[row]
            is_meant = row == same_id or title == wanted
            return not is_meant, not title.startswith(wanted), -int(self.rating_counts[row])

        return [self.ids[row] for row in heapq.nsmallest(most, rows, key=sort_key)]


@dataclass(frozen=True)
class UserState:
    """A user just before the part, and what came then.

    Attributes:
      request: the user as a server sees one.
      items: of the user's samples in the part, in their order.
      ratings: their ratings.
      labels: their labels.
    """

    request: UserRequest
    items: list[str]
    ratings: list[float]
    labels: list[int]


class Samples:
    """The samples of a part, user by user."""

    def __init__(self, scenario: Scenario, part: str):
        """Reads the part."""
        features = {feature.name: feature for feature in features_of(CTR, scenario.data)}
        statistics = (USER_SHARE_LIKED, USER_MEAN_RATING, USER_LOG_COUNT)
        profile = [name for name in features if name.startswith(PROFILE_PREFIX)]
        names = [USER_ID, ITEM_ID, LABEL, RATING, POSITION, HISTORY_ITEM_ID, HISTORY_RATING]
        files = WorkDirectory(scenario.work_dir).examples.shards(part)
        read = [features[name] for name in (*names, *statistics, *profile)]
        self._has_ratings = not scenario.data.is_implicit
        self._later: dict[str, list[tuple[int, str, float, int]]] = {}
        self._first: dict[str, tuple[int, UserRequest]] = {}
        for batch in example_dataset(files, _READ_BATCH, read):
            columns = {name: values.numpy() for name, values in batch.items()}
            for row, user in enumerate(as_text(columns[USER_ID]).tolist()):
                position = int(columns[POSITION][row])
                sample = (
                    position,
                    columns[ITEM_ID][row].decode(),
                    float(columns[RATING][row]),
                    int(columns[LABEL][row]),
                )
                self._later.setdefault(user, []).append(sample)
                if user not in self._first or position < self._first[user][0]:
                    self._first[user] = (position, self._request(columns, row))

    def _request(self, columns: Mapping[str, np.ndarray], row: int) -> UserRequest:
        real = columns[HISTORY_ITEM_ID][row] != b""
        profile: dict[str, Any] = {}
        for name, values in columns.items():
            if not name.startswith(PROFILE_PREFIX):
                continue
            if values.dtype == object:
                given: Any = [value.decode() for value in values[row] if value]
            else:
                given = next((float(value) for value in values[row] if value == value), None)
            if given is not None and given != []:
                profile[name.removeprefix(PROFILE_PREFIX)] = given
        ratings = columns[HISTORY_RATING][row][real].tolist() if self._has_ratings else None
        return UserRequest(
            columns[USER_ID][row].decode(),
            as_text(columns[HISTORY_ITEM_ID][row][real]).tolist(),
            ratings,
            float(columns[USER_SHARE_LIKED][row]),
            float(columns[USER_MEAN_RATING][row]),
            float(columns[USER_LOG_COUNT][row]),
            profile,
        )

    @cached_property
    def users(self) -> list[str]:
        """All users of the part, those with the most samples first."""
        return sorted(self._later, key=lambda user: (-len(self._later[user]), user))

    def state(self, user: str) -> UserState | None:
        """What is known of a user; None of one without samples in the part."""
        if user not in self._later:
            return None
        later = sorted(self._later[user], key=lambda sample: sample[0])
        return UserState(
            self._first[user][1],
            [item for _, item, _, _ in later],
            [rating for _, _, rating, _ in later],
            [label for _, _, _, label in later],
        )

    def search(self, text: str, most: int) -> list[str]:
        """Users whose id contains a text, the shortest ids first."""
        matching = (user for user in self._later if text in user)
        return sorted(matching, key=lambda user: (len(user), user))[:most]


class Vectors:
    """Knowledge vectors of one source.

    Attributes:
      entity: "item" or "user".
      ids: [rows], whose vectors they are.
      extraction: [rows], individual or collective.
      row_of: id -> row.
      centred: the vectors as they are compared.
    """

    def __init__(self, entity: str, records: KnowledgeVectors):
        self.entity = entity
        self.ids = records.entity_ids
        self.extraction = records.extraction
        self._groups = records.group_ids
        self.row_of = {one: row for row, one in enumerate(self.ids)}
        self.centred = CentredVectors(records.vectors)

    def nearest(self, entity_id: str, most: int) -> list[tuple[str, float]]:
        """The nearest others and their cosines; none for an id without a vector."""
        if entity_id not in self.row_of:
            return []
        order, cosines = self.centred.nearest(self.row_of[entity_id], most)
        return [
            (self.ids[row], cosine)
            for row, cosine in zip(order.tolist(), cosines.tolist(), strict=True)
        ]

    def origin(self, entity_id: str) -> tuple[str, str]:
        """Extraction, or "missing", and the group that the knowledge is shared with, or ""."""
        row = self.row_of.get(entity_id)
        if row is None:
            return "missing", ""
        return self.extraction[row], self._groups[row]

    @cached_property
    def plane(self) -> np.ndarray:
        """The first two principal components of the vectors as they are compared: [rows, 2].

        Their signs make the largest absolute weight of each positive.
        """
        vectors = self.centred.directions
        mean = vectors.mean(axis=0, dtype=np.float64)
        scatter = np.zeros([len(mean), len(mean)])
        for start in range(0, len(vectors), _READ_BATCH):
            part = vectors[start : start + _READ_BATCH] - mean
            scatter += part.T @ part
        _, directions = np.linalg.eigh(scatter)
        main = directions[:, ::-1][:, :2]
        main = main * np.sign(main[np.abs(main).argmax(axis=0), np.arange(main.shape[1])])
        plane = vectors @ main.astype(np.float32) - mean @ main
        return np.pad(plane, [(0, 0), (0, 2 - plane.shape[1])])


class Answers:
    """The usable answers of some files, by what they are about.

    Attributes:
      table: a row for each: extraction, entity_id, text, prompt, model, finish_reason; the first
        answer about each counts, of structured ones the first that has the factor.
      missing: paths that are no files of this machine.
    """

    def __init__(self, reader: SourceReader, files: Sequence[AnswerFile], factor: str | None):
        """Reads the files.

        Args:
          reader: takes the source's answers out of its files.
          files: the files.
          factor: of structured answers, whose text is taken.
        """
        rows: dict[tuple[str, str], tuple[Answer, str | None]] = {}
        self.missing = []
        for file in files:
            if not Path(file.name).is_file():
                self.missing.append(file.name)
                continue
            for number, line in numbered_lines(file.name):
                try:
                    answer = reader.answer(line, number, file)
                except RejectedAnswer:
                    continue
                if answer is None:
                    continue
                key = file.extraction, answer.entity_id
                if key not in rows or rows[key][1] is None:
                    text = _text(answer, factor)
                    if key not in rows or text is not None:
                        rows[key] = answer, text
        answers = [answer for answer, _ in rows.values()]
        self.table = pa.table(
            {
                "extraction": pa.array([key[0] for key in rows], pa.string()).dictionary_encode(),
                "entity_id": pa.array([key[1] for key in rows], pa.string()),
                "text": pa.array([text for _, text in rows.values()], pa.string()),
                "prompt": pa.array([answer.prompt for answer in answers], pa.string()),
                "model": pa.array([answer.model for answer in answers], pa.string()),
                "finish_reason": pa.array(
                    [answer.finish_reason for answer in answers], pa.string()
                ),
            }
        )
        self._row_of = {key: row for row, key in enumerate(rows)}

    def about(self, entity_id: str, extraction: str) -> dict[str, Any] | None:
        """The row of an answer; None if there is none."""
        row = self._row_of.get((extraction, entity_id))
        return None if row is None else self.table.slice(row, 1).to_pylist()[0]


def _text(answer: Answer, factor: str | None) -> str | None:
    """What is encoded; None where the factor is missing."""
    if factor is None:
        return answer.text
    try:
        return factor_text(answer, factor)
    except RejectedAnswer:
        return None


def _fault(row: Mapping[str, Any]) -> str | None:
    """Why the checks of answers reject a text; None where they do not."""
    try:
        check_text(AnswerText(row["text"] or "", row["prompt"], row["finish_reason"]), Thresholds())
    except RejectedAnswer as rejection:
        return f"{rejection.reason}: {rejection.detail}"
    return None


class WorkData:
    """All of it, read when it is first asked for.

    Attributes:
      scenario: names the data.
      items: the catalogue.
    """

    def __init__(self, scenario: Scenario):
        """Names the data; the files of the examples must be there.

        Raises:
          preprocessing.records.contract.DamagedRecords: the items cannot be read.
        """
        self.scenario = scenario
        self._directory = WorkDirectory(scenario.work_dir)
        self.items = Items(as_written(self._directory.examples.item_attributes))
        lock = threading.RLock()
        self.vectors = computed_once(lock, self._vectors)
        self.answers = computed_once(lock, self._answers)
        self.links = computed_once(lock, self._links)
        self.rejected = computed_once(lock, self._rejected)

    @cached_property
    def encoded(self) -> dict[str, list[str]]:
        """Entity -> sources that the work directory has vectors of, those of links first."""
        described = self.scenario.knowledge.answers
        sources = sorted(described, key=lambda source: described[source].links is None)
        return {
            entity: [
                source
                for source in sources
                if described[source].entity == entity
                and self._directory.knowledge(source).manifest.exists()
            ]
            for entity in ("item", "user")
        }

    @cached_property
    def linked(self) -> dict[str, list[str]]:
        """Entity -> sources whose names are linked."""
        described = self.scenario.knowledge.answers
        return {
            entity: [
                source
                for source in described
                if described[source].entity == entity
                and self._directory.links(source).manifest.exists()
            ]
            for entity in ("item", "user")
        }

    def _vectors(self, source: str) -> Vectors:
        described = self.scenario.knowledge.answers[source]
        records = read_knowledge(self.scenario.work_dir, source, with_folds=False)
        return Vectors(described.entity, records)

    def _links(self, source: str) -> pa.Table:
        described = self.scenario.knowledge.answers[source]
        return read_links(self._directory.links(source).path / LINKS_FILE, described.entity)

    def _answers(self, source: str) -> Answers:
        answers = self.scenario.knowledge.answers
        reader = SourceReader.of(answers, source, Forgotten.of(self.scenario.work_dir))
        return Answers(reader, answer_files(answers[source]), answers[source].factor)

    def answer_sources(self, entity: str) -> list[str]:
        """Sources of an entity whose knowledge comes from answers."""
        return [
            source
            for source, described in self.scenario.knowledge.answers.items()
            if described.entity == entity and (described.individual or described.collective)
        ]

    def answers_about(self, entity: str, entity_id: str) -> list[dict[str, Any]]:
        """The answers about an item or user, its own and that of its group, by source.

        Prose has a `fault` where the checks of answers reject it, else None.
        """
        described: list[dict[str, Any]] = []
        for source in self.answer_sources(entity):
            answers = self.answers(source)
            rows = [answers.about(entity_id, INDIVIDUAL)]
            if source in self.encoded[entity]:
                group = self.vectors(source).origin(entity_id)[1]
                rows.append(answers.about(group, COLLECTIVE) if group else None)
            is_prose = self.scenario.knowledge.answers[source].links is None
            described += [
                {"source": source, **row, "fault": _fault(row) if is_prose else None}
                for row in rows
                if row is not None
            ]
        return described

    def user_links(self, user: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
        """Source -> list, such as liked -> names in the answers about a user, best first."""
        by_source: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for source in self.linked["user"]:
            table = self.links(source)
            rows = table.filter(rows_with(table["user"], [user])).sort_by("rank").to_pylist()
            for row in rows:
                row["title"] = self.items.title(row["linked"])
                by_source.setdefault(source, {}).setdefault(row["list"], []).append(row)
        return by_source

    def _rejected(self, source: str) -> dict[str, Any]:
        """What the checks of answers find in the files of a source.

        Returns:
          `accepted`, a number; `reasons`, reason -> records; `first`, a few of them.
        """
        described = self.scenario.knowledge.answers[source]
        recorded = recorded_source(source, described.factor)
        accepted, reasons, first = 0, Counter[str](), []
        for extraction, paths in (
            (INDIVIDUAL, described.individual),
            (COLLECTIVE, described.collective),
        ):
            there = [path for path in paths if Path(path).is_file()]
            formats = ["records"] * len(there)
            for outcome in examine(there, formats, Expected(recorded, extraction), Thresholds()):
                if isinstance(outcome, Answer):
                    accepted += 1
                elif outcome["reason"] not in _OF_OTHERS:
                    reasons[outcome["reason"]] += 1
                    first.append(outcome)
        return {"accepted": accepted, "reasons": dict(reasons.most_common()), "first": first[:20]}

    def entity_kind(self, source: str) -> str:
        """What a source is about.

        Raises:
          UnknownEntity: there is no such source.
        """
        described = self.scenario.knowledge.answers.get(source)
        if described is None:
            raise UnknownEntity(f"there is no source '{source}' of knowledge")
        return described.entity

    def require_item(self, item: str) -> None:
        """Makes sure that an item is in the catalogue or in a source of knowledge.

        Raises:
          UnknownEntity: it is in neither.
        """
        if item in self.items.row_of:
            return
        if any(item in self.vectors(source).row_of for source in self.encoded["item"]):
            return
        raise UnknownEntity(f"there is no item '{item}' among the {len(self.items.ids):,}")
