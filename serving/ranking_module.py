"""Signatures of ranking models and re-rankers."""

from __future__ import annotations

import functools

import tensorflow as tf
from tensorflow.compat.v1.saved_model import signature_constants
from tensorflow.types.experimental import ConcreteFunction

from configs.serving import IdType
from models.ranking import RankingModel
from models.reranking import RerankingModel
from preprocessing.records.contract import ITEM_ID
from serving.serving_module import ONE_USER, ServingModule, Tensors

SCORE = "score"


class RankingModule(ServingModule):
    """Scores single candidates.

    Every further task of the model has an output `score_<task>` beside `score`, which is that of
    the label; classify and regress give the label's alone.
    """

    def __init__(
        self, model: RankingModel, id_type: IdType = "string", largest_request: int | None = None
    ):
        """Keeps a model whose knowledge is stored; see `ServingModule`."""
        super().__init__(model, id_type, largest_request)
        self._logits = functools.partial(model.call, training=False)
        self._outputs = (SCORE, *(f"{SCORE}_{task}" for task in model.tasks))

    def _signatures(self) -> dict[str, ConcreteFunction]:
        """Signatures of tensors and of serialized tf.Examples."""
        rows = self._of_features(self.scores, None, [None])
        return {
            "serving_default": rows,
            "rank": self._of_features(self.scores, ONE_USER, [None]),
            "predict_examples": self._of_examples(rows, "examples"),
            "classify": self._of_examples(
                rows,
                signature_constants.CLASSIFY_INPUTS,
                lambda outputs: {
                    signature_constants.CLASSIFY_OUTPUT_SCORES: outputs[SCORE][:, tf.newaxis]
                },
            ),
            "regress": self._of_examples(
                rows,
                signature_constants.REGRESS_INPUTS,
                lambda outputs: {signature_constants.REGRESS_OUTPUTS: outputs[SCORE]},
            ),
        }

    def scores(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Probabilities [n] of raw features, output -> [n]."""
        logits = tf.reshape(self._logits(raw), [-1, len(self._outputs)])
        return {
            output: tf.sigmoid(logits[:, column]) for column, output in enumerate(self._outputs)
        }


class RerankingModule(ServingModule):
    """Scores the candidates of lists in each other's presence; 0 where a list is padded by ""."""

    def __init__(
        self, model: RerankingModel, id_type: IdType = "string", largest_request: int | None = None
    ):
        """Keeps a model whose knowledge is stored; see `ServingModule`."""
        super().__init__(model, id_type, largest_request)
        self._probabilities = model.probabilities

    def _signatures(self) -> dict[str, ConcreteFunction]:
        """Signatures of tensors and of serialized tf.Examples."""
        lists = self._of_features(self.scores, None, [None, None])
        return {
            "serving_default": lists,
            "rank": self._of_features(self.list_scores, ONE_USER, [None]),
            "predict_examples": self._of_examples(lists, "examples"),
        }

    def scores(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Scores of lists: `item_id` [b, L] -> "score" [b, L]."""
        return {SCORE: self._probabilities(raw)}

    def list_scores(self, raw: Tensors) -> dict[str, tf.Tensor]:
        """Scores of one list: `item_id` [L] -> "score" [L]."""
        lists = {**raw, ITEM_ID: raw[ITEM_ID][tf.newaxis]}
        return {SCORE: self._probabilities(lists)[0]}
