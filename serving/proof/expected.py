"""What the trained model says about the samples of a proof, before the export changes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from models.building import AnyModel
from models.ranking import RankingModel
from models.reranking import RerankingModel
from models.retrieving import RetrievalModel
from preprocessing.records.contract import HISTORY_ITEM_ID, ITEM_ID
from serving.proof.samples import ProofSamples, Question
from serving.serving_module import RETRIEVED_ITEMS, SCORE

VECTOR = "vector"

_BATCH = 1024
_SEARCHES = 16
"""Users whose scores of all items are held at once."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class ExpectedScores:
    """What an export must say.

    Attributes:
      answers: for each question signature -> output -> values; item ids are strings of bytes.
      quality: output -> values of the quality rows, of `serving_default`.
    """

    answers: tuple[dict[str, Arrays], ...]
    quality: Arrays


def expected_scores(model: AnyModel, samples: ProofSamples) -> ExpectedScores:
    """Asks the model; its own methods compute the answers, not the code that is exported.

    Args:
      model: the trained model, not yet behind `serving.stored_knowledge.store_knowledge`.
      samples: what is asked.
    """
    inputs = {feature.name for feature in samples.features}
    answer: Callable[[Arrays], dict[str, np.ndarray]]
    if isinstance(model, RetrievalModel):
        searching = _Searching(model, inputs - {ITEM_ID})
        answers = [searching.answers(question) for question in samples.questions]
        answer = searching.top_k
    else:
        answer = _Scoring(model, inputs)
        answers = [_of_signatures(answer, question) for question in samples.questions]
    return ExpectedScores(tuple(answers), answer(samples.quality_rows))


def _of_signatures(
    answer: Callable[[Arrays], dict[str, np.ndarray]], question: Question
) -> dict[str, Arrays]:
    """Every signature gives the same scores under the names and in the shape of its API."""
    if question.signatures == ("rank",):
        return {"rank": answer(question.raw)}
    scores = answer(question.raw)
    forms = {
        "classify": {"scores": scores[SCORE][..., np.newaxis]},
        "regress": {"outputs": scores[SCORE]},
    }
    return {signature: forms.get(signature, scores) for signature in question.signatures}


class _Scoring:
    """Scores of a ranking model or a re-ranker."""

    def __init__(self, model: RankingModel | RerankingModel, inputs: Set[str]):
        self._inputs = inputs
        self._is_list = isinstance(model, RerankingModel)

        def score(features: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            further = model.task_probabilities(features) if isinstance(model, RankingModel) else {}
            return {
                SCORE: model.probabilities(features),
                **{f"{SCORE}_{task}": values for task, values in further.items()},
            }

        self._score = tf.function(score, reduce_retracing=True)

    def __call__(self, raw: Arrays) -> dict[str, np.ndarray]:
        """Scores of rows, or of one user's candidates: output -> [n], or [lists, length]."""
        features = {name: values for name, values in raw.items() if name in self._inputs}
        users, items = len(features["user_id"]), features[ITEM_ID]
        if self._is_list and items.ndim == 1:
            lists = self({**features, ITEM_ID: items[np.newaxis]})
            return {name: values[0] for name, values in lists.items()}
        if not self._is_list and users != len(items):
            features = {
                name: values if name == ITEM_ID else np.repeat(values, len(items), axis=0)
                for name, values in features.items()
            }
        return _in_batches(self._score, features, _BATCH)


class _Searching:
    """Vectors and searches of a retrieval model."""

    def __init__(self, model: RetrievalModel, inputs: Set[str]):
        self._inputs = inputs
        self._users = tf.function(
            lambda features: {VECTOR: model.user_vectors(features)}, reduce_retracing=True
        )
        catalogue = model.inputs_preparation.catalogue
        self._rows = catalogue.rows
        self._item_vectors = model.all_item_vectors()
        self._item_ids = np.array([b"", *(item.encode() for item in catalogue.item_ids)], object)
        self._found = min(RETRIEVED_ITEMS, model.num_items)

    def answers(self, question: Question) -> dict[str, Arrays]:
        """The answers of all signatures of a question."""
        if question.signatures == ("item_vectors",):
            rows = self._rows(tf.constant(question.raw[ITEM_ID])).numpy()
            return {"item_vectors": {VECTOR: self._item_vectors[rows]}}
        found = self.top_k(question.raw)
        vectors = {VECTOR: self._vectors(question.raw)}
        return {
            signature: vectors if signature == "user_vectors" else found
            for signature in question.signatures
        }

    def top_k(self, raw: Arrays) -> dict[str, np.ndarray]:
        """The best items of users, without those of the history: ids and scores [n, k]."""
        users = self._vectors(raw)
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
        count = self._found
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        rows = np.take_along_axis(best, order, axis=1)
        found = np.take_along_axis(scores, rows, axis=1)
        is_item = np.isfinite(found)
        return {
            ITEM_ID: self._item_ids[np.where(is_item, rows, 0)],
            SCORE: np.where(is_item, found, np.float32(0)),
        }

    def _vectors(self, raw: Arrays) -> np.ndarray:
        features = {name: values for name, values in raw.items() if name in self._inputs}
        return _in_batches(self._users, features, _BATCH)[VECTOR]


def _in_batches(
    function: Callable[[Mapping[str, tf.Tensor]], Mapping[str, tf.Tensor]],
    features: Arrays,
    batch: int,
) -> dict[str, np.ndarray]:
    rows = len(features["user_id"])
    parts = [
        function(
            {name: tf.constant(values[start : start + batch]) for name, values in features.items()}
        )
        for start in range(0, rows, batch)
    ]
    return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}
