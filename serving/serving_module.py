"""The served form of a ranking model: augmented vectors in place of knowledge and HEIN."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from tensorflow.compat.v1.saved_model import signature_constants

from models.adapter import AugmentedTables
from models.inputs import knowledge_row_key
from models.ranking import RankingModel
from preprocessing.records.contract import REQUEST_FEATURES, FeatureType
from preprocessing.records.parsing import parse_examples

Tensors = Mapping[str, tf.Tensor]
_DTYPES = {FeatureType.BYTES: tf.string, FeatureType.FLOAT: tf.float32}


class ServingModule(tf.Module):
    """Scores raw ids with a trained model's scorer and stored augmented vectors.

    A user's augmented vector depends only on the user's knowledge and an item's only on the item's,
    so storing them loses nothing (REKI, arXiv 2408.10520, prestoring).
    """

    def __init__(self, model: RankingModel, augmented_dtype: tf.DType = tf.float32):
        """Computes the augmented vectors of every row and keeps what serving needs.

        Args:
          model: a trained model.
          augmented_dtype: number format of the stored augmented vectors.
        """
        super().__init__(name="serving")
        self._preparation = model.inputs_preparation
        self._scorer = model.scorer
        self._sources = () if model.adapter is None else model.adapter.sources
        self._augmented = (
            None
            if model.adapter is None
            else AugmentedTables(model.adapter.augmented_tables(), augmented_dtype)
        )

    def signatures(self) -> dict[str, tf.types.experimental.ConcreteFunction]:
        """The functions of the SavedModel by signature name."""
        return {
            "serving_default": self._function(request_specifications(None, None)),
            "rank": self._function(request_specifications(1, None)),
            "predict_examples": self._example_function("examples", "score", [-1]),
            "classify": self._example_function(
                signature_constants.CLASSIFY_INPUTS,
                signature_constants.CLASSIFY_OUTPUT_SCORES,
                [-1, 1],
            ),
            "regress": self._example_function(
                signature_constants.REGRESS_INPUTS, signature_constants.REGRESS_OUTPUTS, [-1]
            ),
        }

    def scores(self, raw: Tensors) -> tf.Tensor:
        """Probabilities [n] of raw features, `models.inputs.InputPreparation`."""
        prepared = self._preparation(raw)
        augmented: Tensors = {}
        if self._augmented is not None:
            augmented = self._augmented(
                {source: prepared[knowledge_row_key(source)] for source in self._sources}
            )
        return tf.sigmoid(self._scorer(prepared, augmented, training=False))

    def _function(
        self, specifications: Mapping[str, tf.TensorSpec]
    ) -> tf.types.experimental.ConcreteFunction:
        def score(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"score": self.scores(raw)}

        return tf.function(score).get_concrete_function(**specifications)

    def _example_function(
        self, argument: str, output: str, shape: list[int]
    ) -> tf.types.experimental.ConcreteFunction:
        def score(**serialized: tf.Tensor) -> dict[str, tf.Tensor]:
            raw = parse_examples(serialized[argument], REQUEST_FEATURES)
            return {output: tf.reshape(self.scores(raw), shape)}

        examples = tf.TensorSpec([None], tf.string, name=argument)
        return tf.function(score).get_concrete_function(**{argument: examples})


def request_specifications(users: int | None, candidates: int | None) -> dict[str, tf.TensorSpec]:
    """Inputs of a signature, by name.

    Args:
      users: batch size of the user's features; 1 for one user with many candidates, None for
        aligned rows.
      candidates: batch size of `item_id`; None for any.
    """
    specifications = {}
    for feature in REQUEST_FEATURES:
        batch = candidates if feature.name == "item_id" else users
        shape = [batch, None] if feature.is_list else [batch]
        specifications[feature.name] = tf.TensorSpec(
            shape, _DTYPES[feature.type], name=feature.name
        )
    return specifications
