"""How the proof of each kind of model asks, and what its trained model computes."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from configs.scenario import Scenario
from models.ranking import RankingModel
from models.reranking import RerankingModel
from models.retrieving import RetrievalModel
from preprocessing.records.contract import HISTORY_ITEM_ID, ITEM_ID, USER_ID
from serving.request_features import RETRIEVED_ITEMS, SCORE, request_features

UNKNOWN_ID = b"9223372036854775806"
"""An id that no data has, in a form that ids which are whole numbers can have too."""

VECTOR = "vector"

_BATCH = 1024
_SEARCHES = 16
"""Users whose scores of all items are held at once."""

_QUALITY_SEARCHES = 2_000
"""Most rows for the quality of retrieval models, each of which is a search among all items."""

_QUALITY_SCORES = 2 * 10**9
"""Scores that those searches may compute together, which millions of items make many."""

_SCORES_OF_A_REQUEST = 2**26
"""Of users and items, so that a search among millions of items ends in time."""

_RANKED_ROWS = ("unknown user", "unknown user with empty history")
"""Edge cases that are asked of `rank` too, beside one example."""

_RANKED_CANDIDATES = 100
_ITEM_VECTORS = 500

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ProofRequest:
    """One request, in the form in which several signatures take it.

    Attributes:
      signatures: the signatures that are asked.
      raw: feature -> values as in the examples: strings are bytes in arrays of objects.
      names: what each row of the answer is about, for messages.
    """

    signatures: tuple[str, ...]
    raw: Arrays
    names: tuple[str, ...]


class KindProof(abc.ABC):
    """What is asked of a model of one kind, and what it should answer.

    The model's own methods compute these outputs, not the code that is exported.

    Attributes:
      row_inputs: features that requests of rows carry.
      rows_at_once: rows of one request.
    """

    rows_at_once = 1024

    def __init__(self, model: Any):
        """Takes a trained model of the kind."""
        features = request_features(model.inputs_preparation, model.kind)
        self.row_inputs = {feature.name for feature in features}

    @staticmethod
    @abc.abstractmethod
    def item_edges(items: np.ndarray) -> dict[str, np.ndarray]:
        """Edge cases of the candidates: name -> `item_id` of one row, as `items` is."""

    @abc.abstractmethod
    def num_quality_rows(self, count: int, scenario: Scenario) -> int:
        """Validation examples that make about `count` candidates, where the kind has no limit."""

    @abc.abstractmethod
    def further_requests(self, rows: Arrays, names: Sequence[str]) -> list[ProofRequest]:
        """Requests of the signatures that take no rows of examples, made of such rows."""

    @abc.abstractmethod
    def expected_outputs(self, request: ProofRequest) -> dict[str, Arrays]:
        """For each signature of a request output -> values; item ids are strings of bytes."""

    @abc.abstractmethod
    def default_outputs(self, raw: Arrays) -> dict[str, np.ndarray]:
        """What `serving_default` says about rows: output -> [n, ...]."""

    def _batched(
        self, function: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]], raw: Arrays
    ) -> dict[str, np.ndarray]:
        """Applies a function of the model's inputs to a number of rows at a time."""
        features = {name: values for name, values in raw.items() if name in self.row_inputs}
        parts = [
            function(
                {
                    name: tf.constant(values[start : start + _BATCH])
                    for name, values in features.items()
                }
            )
            for start in range(0, len(features[USER_ID]), _BATCH)
        ]
        return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}


class RankingProof(KindProof):
    """Asks for the scores of single candidates."""

    def __init__(self, model: RankingModel):
        """Takes a trained ranking model."""
        super().__init__(model)

        def score(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            further = model.task_probabilities(features)
            return {
                SCORE: model.probabilities(features),
                **{f"{SCORE}_{task}": values for task, values in further.items()},
            }

        self._score = tf.function(score, reduce_retracing=True, autograph=False)

    @staticmethod
    def item_edges(items: np.ndarray) -> dict[str, np.ndarray]:
        """An unknown candidate."""
        return {"unknown item": filled_with(items, UNKNOWN_ID)}

    def num_quality_rows(self, count: int, scenario: Scenario) -> int:
        """Every example is a candidate."""
        return count

    def further_requests(self, rows: Arrays, names: Sequence[str]) -> list[ProofRequest]:
        """Requests of `rank`: one user and many candidates."""
        is_known = (rows[ITEM_ID] != b"") & (rows[ITEM_ID] != UNKNOWN_ID)
        items = np.append(np.unique(rows[ITEM_ID][is_known])[:_RANKED_CANDIDATES], UNKNOWN_ID)
        return [_ranked(rows, names, row, items) for row in _ranked_rows(names)]

    def expected_outputs(self, request: ProofRequest) -> dict[str, Arrays]:
        """Every signature gives the same scores under the names and in the shape of its API."""
        raw = request.raw
        if request.signatures == ("rank",):
            count = len(raw[ITEM_ID])
            raw = {
                name: values if name == ITEM_ID else np.repeat(values, count, axis=0)
                for name, values in raw.items()
            }
        scores = self.default_outputs(raw)
        forms = {
            "classify": {"scores": scores[SCORE][..., np.newaxis]},
            "regress": {"outputs": scores[SCORE]},
        }
        return {signature: forms.get(signature, scores) for signature in request.signatures}

    def default_outputs(self, raw: Arrays) -> dict[str, np.ndarray]:
        """Scores [n], of every task."""
        return self._batched(self._score, raw)


class RerankingProof(KindProof):
    """Asks for the scores of lists of candidates."""

    def __init__(self, model: RerankingModel):
        """Takes a trained re-ranker."""
        super().__init__(model)
        self._score = tf.function(
            lambda features: {SCORE: model.probabilities(features)},
            reduce_retracing=True,
            autograph=False,
        )

    @staticmethod
    def item_edges(items: np.ndarray) -> dict[str, np.ndarray]:
        """Lists with an unknown item, of one item, and of none."""
        empty = filled_with(items, b"")
        return {
            "unknown item in the list": with_first(items, UNKNOWN_ID),
            "list of one item": with_first(empty, items.flat[0]),
            "empty list": empty,
        }

    def num_quality_rows(self, count: int, scenario: Scenario) -> int:
        """Every example is a list."""
        return count // scenario.data.rerank.length

    def further_requests(self, rows: Arrays, names: Sequence[str]) -> list[ProofRequest]:
        """Requests of `rank`: one user and one list."""
        requests = []
        for row in _ranked_rows(names):
            listed = rows[ITEM_ID][row]
            items = np.append(listed[listed != b""], UNKNOWN_ID)
            requests.append(_ranked(rows, names, row, items))
        return requests

    def expected_outputs(self, request: ProofRequest) -> dict[str, Arrays]:
        """Every signature gives the same scores; `rank` those of its only list."""
        if request.signatures == ("rank",):
            lists = {**request.raw, ITEM_ID: request.raw[ITEM_ID][np.newaxis]}
            return {"rank": {SCORE: self.default_outputs(lists)[SCORE][0]}}
        scores = self.default_outputs(request.raw)
        return dict.fromkeys(request.signatures, scores)

    def default_outputs(self, raw: Arrays) -> dict[str, np.ndarray]:
        """Scores [lists, length]."""
        return self._batched(self._score, raw)


class RetrievalProof(KindProof):
    """Asks for searches and vectors."""

    def __init__(self, model: RetrievalModel):
        """Takes a trained retrieval model, which holds the scores of all items for each row."""
        super().__init__(model)
        self.row_inputs -= {ITEM_ID}
        self._model = model
        self.rows_at_once = min(self.rows_at_once, max(1, _SCORES_OF_A_REQUEST // model.num_items))
        self._users = tf.function(
            lambda features: {VECTOR: model.user_vectors(features)},
            reduce_retracing=True,
            autograph=False,
        )
        catalogue = model.inputs_preparation.catalogue
        self._rows = catalogue.rows
        self._item_ids = np.array([b"", *(item.encode() for item in catalogue.item_ids)], object)

    @functools.cached_property
    def _item_vectors(self) -> np.ndarray:
        return self._model.all_item_vectors()

    @staticmethod
    def item_edges(items: np.ndarray) -> dict[str, np.ndarray]:
        """None: users have no candidates."""
        return {}

    def num_quality_rows(self, count: int, scenario: Scenario) -> int:
        """Fewer than asked for, because every example is a search among all items."""
        return min(count, _QUALITY_SEARCHES, _QUALITY_SCORES // self._model.num_items)

    def further_requests(self, rows: Arrays, names: Sequence[str]) -> list[ProofRequest]:
        """A request of `item_vectors`."""
        items = np.append(np.unique(rows[ITEM_ID])[:_ITEM_VECTORS], UNKNOWN_ID)
        asked = tuple(f"item {item.decode(errors='replace')}" for item in items)
        return [ProofRequest(("item_vectors",), {ITEM_ID: items}, asked)]

    def expected_outputs(self, request: ProofRequest) -> dict[str, Arrays]:
        """Vectors or the items found."""
        if request.signatures == ("item_vectors",):
            rows = self._rows(tf.constant(request.raw[ITEM_ID])).numpy()
            return {"item_vectors": {VECTOR: self._item_vectors[rows]}}
        outputs = self.default_outputs(request.raw)
        vectors = {VECTOR: self._batched(self._users, request.raw)[VECTOR]}
        return {
            signature: vectors if signature == "user_vectors" else outputs
            for signature in request.signatures
        }

    def default_outputs(self, raw: Arrays) -> dict[str, np.ndarray]:
        """The best items of users, without those of the history: ids and scores [n, k]."""
        users = self._batched(self._users, raw)[VECTOR]
        history = self._rows(tf.constant(raw[HISTORY_ITEM_ID])).numpy()
        parts = [
            self._search(users[start : start + _SEARCHES], history[start : start + _SEARCHES])
            for start in range(0, len(users), _SEARCHES)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _search(self, users: np.ndarray, history: np.ndarray) -> dict[str, np.ndarray]:
        scores = users @ self._item_vectors.T
        scores[:, 0] = -np.inf
        np.put_along_axis(scores, history, -np.inf, axis=1)
        count = min(RETRIEVED_ITEMS, self._model.num_items)
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        rows = np.take_along_axis(best, order, axis=1)
        best_scores = np.take_along_axis(scores, rows, axis=1)
        is_item = np.isfinite(best_scores)
        return {
            ITEM_ID: self._item_ids[np.where(is_item, rows, 0)],
            SCORE: np.where(is_item, best_scores, np.float32(0)),
        }


def filled_with(values: np.ndarray, value: bytes) -> np.ndarray:
    """Strings of the same shape that are all alike."""
    return np.full(values.shape, value, dtype=object)


def with_first(values: np.ndarray, value: bytes) -> np.ndarray:
    """A row of at least one value, which is this one: [1, n]."""
    changed = values if values.shape[1] else filled_with(np.empty([1, 1]), b"")
    changed = changed.copy()
    changed[0, 0] = value
    return changed


def _ranked_rows(names: Sequence[str]) -> list[int]:
    return [0, *map(names.index, _RANKED_ROWS)]


def _ranked(rows: Arrays, names: Sequence[str], row: int, items: np.ndarray) -> ProofRequest:
    """A request of `rank` with the user of a row."""
    raw = {name: values[row : row + 1] for name, values in rows.items()} | {ITEM_ID: items}
    asked = tuple(f"candidate {position} of {names[row]}" for position in range(len(items)))
    return ProofRequest(("rank",), raw, asked)
