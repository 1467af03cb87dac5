"""What is opened: models beside each other over one work directory, and what they differ by."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.loading import ConfigurationError, load_scenario
from configs.scenario import Scenario
from preprocessing.records.contract import CTR
from serving.client.inputs import UserRequest
from serving.explore.rankers import ExportRanker, Gates, Ranker, open_ranker
from serving.explore.work_data import Samples, UnknownEntity, WorkData, computed_once
from serving.export_manifest import read_manifest
from serving.publishing import version_folders
from serving.refresh.version import IdLookup, StoredVariables
from trainer.comparison import Compared, compare_slices
from trainer.evaluation.part_scores import PartScores, divided_rows
from trainer.evaluation.slices import slice_names
from trainer.examples import ExampleStore
from trainer.metric_sums import log_losses
from trainer.predictions import SamplePredictions, require_same_examples

_MOST_CHANGED = 200
_KEPT_RANKINGS = 8


@dataclass(frozen=True)
class Ranking:
    """Candidates as all models rank them.

    Attributes:
      items: [candidates] ids.
      scores: [rankers, candidates].
      ranks: int [rankers, candidates], from 1; of equal scores the one that is named first is
        better.
    """

    items: list[str]
    scores: np.ndarray
    ranks: np.ndarray

    def best_first(self, ranker: int) -> list[int]:
        """Places of the candidates as one model orders them."""
        return np.argsort(self.ranks[ranker]).tolist()


@dataclass(frozen=True)
class Contribution:
    """What one rating adds to a match.

    Attributes:
      item: that was rated.
      rating: None of implicit feedback.
      value: in units of a rating.
    """

    item: str
    rating: float | None
    value: float


@dataclass(frozen=True)
class VersionChange:
    """What a later version of an export has otherwise.

    Attributes:
      tables: "entity, what" -> rows that changed.
      items: ids of the data whose rows changed or are new, the most rated first, at most
        `_MOST_CHANGED`.
      num_items: how many items have such rows, of the data or not.
      new_items: items of the data that the earlier version did not know.
      refreshes: what the later manifest notes of each refresh.
    """

    tables: dict[str, int]
    items: list[str]
    num_items: int
    new_items: int
    refreshes: list[dict[str, Any]]


class Session:
    """The opened models, those to compare with first, and their data.

    Attributes:
      rankers: at least one; the last is the one that was opened.
      data: the work directory.
      part: of the samples.
    """

    def __init__(self, rankers: Sequence[Ranker], data: WorkData, part: str):
        """Puts models over one work directory beside each other."""
        self.rankers = list(rankers)
        self.data = data
        self.part = part
        # Models are asked one request at a time. Search does not wait for them.
        self._lock = threading.RLock()
        self._samples = computed_once(threading.RLock(), lambda: Samples(data.scenario, part))
        self._rankings: dict[object, Ranking] = {}
        self.predictions = computed_once(self._lock, self._predictions)
        self.rows_of_slice = computed_once(self._lock, self._rows_of_slice)
        self.compared_slice = computed_once(self._lock, self._compared_slice)
        self.compared_whole = computed_once(self._lock, self._compared_whole)
        self.version_change = computed_once(self._lock, self._version_change)
        self._version_ranker = computed_once(self._lock, self._opened_version)

    @classmethod
    def open(
        cls, folder: Path, compared: Sequence[Path], config: Path | None, part: str
    ) -> Session:
        """Loads models.

        Args:
          folder: run or export to look at.
          compared: runs or exports beside it, the one without knowledge first.
          config: scenario that names the data; the first run's where it is left out.
          part: of the samples that are shown, validation or test.

        Raises:
          ConfigurationError: a folder is not there, is of another kind of model, or nothing names
            the data; or runs are over different work directories.
          CommandError: a folder is damaged.
        """
        store = ExampleStore()
        rankers = [open_ranker(path, store) for path in (*compared, folder)]
        names = [ranker.name for ranker in rankers]
        for ranker in rankers:
            if names.count(ranker.name) > 1:
                ranker.name = str(ranker.path)
        scenarios = [ranker.scenario for ranker in rankers if ranker.scenario is not None]
        if config is not None:
            scenarios = [load_scenario(config), *scenarios]
        if not scenarios:
            raise ConfigurationError(
                f"{folder}: an export does not know its data; name the scenario with --config "
                "FILE.yaml, or a run over the same data with --compare RUN"
            )
        work_dirs = {str(Path(scenario.work_dir).resolve()) for scenario in scenarios}
        if len(work_dirs) > 1:
            raise ConfigurationError(
                "models can be compared over one work directory only; these read "
                + ", ".join(sorted(work_dirs))
            )
        return cls(rankers, WorkData(_most_sources(scenarios)), part)

    @property
    def samples(self) -> Samples:
        """The samples of the part."""
        return self._samples()

    @property
    def has_ratings(self) -> bool:
        """Whether histories have ratings."""
        return not self.data.scenario.data.is_implicit

    def rank(self, user: UserRequest, candidates: Sequence[str]) -> Ranking:
        """Ranks candidates by every model; the last few rankings are kept."""
        asked = repr(user), tuple(candidates)
        with self._lock:
            ranking = self._rankings.pop(asked, None) or self._ranked(user, candidates)
            self._rankings[asked] = ranking
            if len(self._rankings) > _KEPT_RANKINGS:
                del self._rankings[next(iter(self._rankings))]
        return ranking

    def _ranked(self, user: UserRequest, candidates: Sequence[str]) -> Ranking:
        scores = np.stack([ranker.scores(user, candidates) for ranker in self.rankers])
        order = np.argsort(-scores, axis=1, kind="stable")
        ranks = np.empty_like(order)
        np.put_along_axis(ranks, order, np.arange(1, len(candidates) + 1)[np.newaxis], axis=1)
        return Ranking(list(candidates), scores, ranks)

    def explain(
        self, ranker: Ranker, user: UserRequest, item: str
    ) -> dict[str, list[Contribution] | None]:
        """What each rating adds to a model's match of the user with an item.

        Returns:
          Source -> contributions, the largest absolute ones first; None where the source does not
          know the item.

        Raises:
          ConfigurationError: the model has no match that is such a sum.
        """
        with self._lock:
            by_source = ranker.contributions(user, [item])
        explained: dict[str, list[Contribution] | None] = {}
        for source, match in by_source.items():
            contributions = [
                Contribution(
                    str(user.history_item_id[entry]),
                    None if user.history_rating is None else user.history_rating[entry],
                    value,
                )
                for entry, value in zip(
                    match.history.tolist(), match.values[0].tolist(), strict=True
                )
            ]
            contributions.sort(key=lambda one: -abs(one.value))
            explained[source] = contributions if match.is_known[0] else None
        return explained

    def gates(self, entity: str, entity_id: str) -> dict[str, list[Gates]]:
        """Name of a model with experts -> how it mixes them for an "item" or "user", by source."""
        with self._lock:
            by_ranker = {ranker.name: ranker.gates(entity, entity_id) for ranker in self.rankers}
        return {name: gates for name, gates in by_ranker.items() if gates}

    def _predictions(self, ranker: Ranker) -> SamplePredictions:
        """What a model says about all samples of the part.

        Raises:
          ConfigurationError: there are none.
        """
        if not self.samples.users:
            raise ConfigurationError(f"the {self.part} part has no samples")
        return ranker.predictions(self.data.scenario, self.part)

    def require_two(self) -> None:
        """Makes sure that there is something to compare.

        Raises:
          ConfigurationError: one model is opened alone.
        """
        if len(self.rankers) < 2:
            raise ConfigurationError(
                "one model is opened alone; start the explorer with --compare RUN, the run without "
                "knowledge, to see what knowledge changed"
            )

    def gains(self, ranker: Ranker) -> np.ndarray:
        """By how much a model's log loss is lower than the first one's: float64 [samples], nats."""
        first, other = self.predictions(self.rankers[0]), self.predictions(ranker)
        require_same_examples([first, other])
        return log_losses(first.labels, first.scores) - log_losses(other.labels, other.scores)

    @functools.cached_property
    def slices(self) -> list[str]:
        """Names of the slices that samples can be divided by."""
        return slice_names(self.data.scenario)

    def _rows_of_slice(self, name: str) -> dict[str, np.ndarray]:
        """Group -> bool [samples].

        Raises:
          UnknownEntity: there is no such slice.
        """
        if name not in self.slices:
            raise UnknownEntity(f"there is no slice '{name}'; there are {', '.join(self.slices)}")
        part = PartScores(
            self.data.scenario, self.part, CTR, (), [self.predictions(self.rankers[0])]
        )
        return divided_rows(part, [name])[name]

    def _compared_slice(self, ranker: Ranker, name: str) -> dict[str, Compared]:
        """Group of a slice -> what a model and the first one differ by there."""
        divisions = {name: self.rows_of_slice(name)}
        return self._compared(self.rankers[0], ranker, divisions)[name]

    def compared_rows(self, baseline: Ranker, ranker: Ranker, rows: np.ndarray) -> Compared:
        """What two models differ by on some samples, bool [samples]."""
        with self._lock:
            return self._compared(baseline, ranker, {"": {"": rows}})[""][""]

    def _compared_whole(self, baseline: Ranker, ranker: Ranker) -> Compared:
        """What two models differ by on all samples."""
        every = np.ones(self.predictions(ranker).count, bool)
        return self.compared_rows(baseline, ranker, every)

    def _compared(
        self, baseline: Ranker, ranker: Ranker, divisions: dict[str, dict[str, np.ndarray]]
    ) -> dict[str, dict[str, Compared]]:
        options = self.data.scenario.evaluation
        return compare_slices(
            [self.predictions(baseline)],
            [self.predictions(ranker)],
            divisions,
            options.bootstrap_resamples,
            options.bootstrap_seed,
        )

    @functools.cached_property
    def versions(self) -> dict[int, Path]:
        """Versions of the opened export, ascending; empty where a run is opened."""
        opened = self.rankers[-1]
        if not isinstance(opened, ExportRanker) or not opened.path.name.isdecimal():
            return {}
        return dict(sorted(version_folders(opened.path.parent).items()))

    def version(self, number: int) -> Ranker:
        """A version of the opened export.

        Raises:
          UnknownEntity: there is none.
        """
        if number not in self.versions:
            raise UnknownEntity(f"there is no version {number} of the export")
        return self._version_ranker(number)

    def _opened_version(self, number: int) -> Ranker:
        folder = self.versions[number]
        same = [ranker for ranker in self.rankers if ranker.path == folder]
        return same[0] if same else ExportRanker(folder)

    def _version_change(self, before: int, after: int) -> VersionChange:
        """What the tables of one version have otherwise than those of another."""
        for number in (before, after):
            self.version(number)
        old, new = (StoredVariables(self.versions[number]) for number in (before, after))
        tables: dict[str, int] = {}
        items = self.data.items
        changed_items: list[str] = []
        num_items = new_items = 0
        for entity in ("items", "users"):
            lookups = [IdLookup.of_version(variables, entity) for variables in (old, new)]
            if lookups[0] is None or lookups[1] is None:
                continue
            rows_before = lookups[1].rows_in(lookups[0])
            earlier = _tables_by_row(old, entity)
            has_changed = np.zeros(len(rows_before), bool)
            for what, read in _tables_by_row(new, entity).items():
                if what in earlier:
                    differs = _differs(earlier[what](old)[rows_before], read(new))
                    tables[f"{entity}, {what}"] = int(differs.sum())
                    has_changed |= differs
            if entity == "items":
                rows = lookups[1].rows(items.ids)
                num_items = int(has_changed[1:].sum())
                new_items = int(((rows > 0) & (rows_before[rows] == 0)).sum())
                changed = np.flatnonzero((rows > 0) & has_changed[rows])
                most_rated = changed[np.argsort(-items.rating_counts[changed], kind="stable")]
                changed_items = [items.ids[row] for row in most_rated[:_MOST_CHANGED].tolist()]
        refreshes = list(read_manifest(self.versions[after]).get("refreshed", []))
        return VersionChange(tables, changed_items, num_items, new_items, refreshes)


def _differs(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Which rows differ, bool [rows]; all of them where they are of another width."""
    if before.shape != after.shape:
        return np.ones(len(after), bool)
    differs = (before != after) & ~(np.isnan(before) & np.isnan(after))
    return differs.any(axis=tuple(range(1, differs.ndim)))


def _most_sources(scenarios: Sequence[Scenario]) -> Scenario:
    """The scenario that describes the most sources of knowledge, the last of equal ones."""
    return max(reversed(scenarios), key=lambda scenario: len(scenario.knowledge.answers))


_Read = Callable[[StoredVariables], np.ndarray]


def _tables_by_row(variables: StoredVariables, entity: str) -> dict[str, _Read]:
    """What a version stores of its items or users by their row in the index.

    Args:
      variables: of the version.
      entity: "items" or "users".

    Returns:
      Name for people -> reads a table [rows, ...].
    """

    def directly(name: str) -> _Read:
        return lambda stored: stored.read(name)

    def vectors(name: str, rows: str | None = None) -> _Read:
        def read(stored: StoredVariables) -> np.ndarray:
            values = stored.read(f"{name}/values")
            if f"{name}/scales" in stored:
                values = values * stored.read(f"{name}/scales")[:, np.newaxis]
            return values if rows is None else values[stored.read(rows)]

        return read

    def match(name: str, rows: str) -> _Read:
        def read(stored: StoredVariables) -> np.ndarray:
            return stored.read(f"{name}/table")[stored.read(f"{name}/slots")[stored.read(rows)]]

        return read

    tables: dict[str, _Read] = {}
    for name in variables.names(f"{entity}/"):
        kind, _, source = name.removeprefix(f"{entity}/").partition("/")
        augmented, compared = f"knowledge/{source}/augmented", f"knowledge/{source}/match"
        if kind == "knowledge_row" and f"{augmented}/values" in variables:
            tables[f"augmented vector of {source}"] = vectors(augmented, name)
        elif kind == "match_row" and f"{compared}/table" in variables:
            tables[f"row of the match of {source}"] = match(compared, name)
        elif kind == "prior":
            tables[f"prior of {source}"] = directly(name)
        elif name.endswith("/replaced_id/values"):
            tables["vector in place of the id"] = vectors(name.removesuffix("/values"))
        elif kind in ("numeric", "mean_rating"):
            tables[kind.replace("_", " ")] = directly(name)
    return tables
