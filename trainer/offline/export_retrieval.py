"""Ranks of an exported retrieval model.

Its search gives the best items only, without those of the history; so the ranks are computed from
its vectors, by the same inner products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.records.contract import HISTORY_ITEM_ID, ITEM_ID, NO_ID, RETRIEVAL, USER_ID
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.example_features import features_of
from preprocessing.records.parsing import parse_examples
from trainer.prediction import finite
from trainer.retrieval_metrics import rank_positives
from trainer.retrieval_predictions import RetrievalPredictions
from trainer.tables import read_model_tables

VECTOR_SIGNATURES = ("user_vectors", "item_vectors")

_ITEMS_AT_ONCE = 65536
_VECTOR = "vector"


class ExportedRetrieval:
    """From serialized examples to ranks among all items of the catalogue."""

    def __init__(self, model: Any, scenario: Scenario):
        """Computes the vectors of all items.

        Args:
          model: the loaded SavedModel.
          scenario: that of the exported run, which names its catalogue.

        Raises:
          ConfigurationError: the data lacks a feature that the model reads.
          preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
        """
        # A signature alone does not keep the model's variables alive.
        self._model = model
        known = {feature.name: feature for feature in features_of(RETRIEVAL, scenario.data)}
        _, inputs = model.signatures["user_vectors"].structured_input_signature
        missing = sorted(set(inputs) - set(known))
        if missing:
            raise ConfigurationError(
                f"data.profiles: the model reads {', '.join(missing)}, which the examples lack; "
                "use the configuration of the run that was exported"
            )
        self._inputs = inputs
        self._features = [known[name] for name in {USER_ID, ITEM_ID, HISTORY_ITEM_ID, *inputs}]
        items = list(read_model_tables(scenario).catalogue.item_ids)
        _, of_items = model.signatures["item_vectors"].structured_input_signature
        self._row_of = {item.encode(): row for row, item in enumerate(items, start=1)}
        self._item_vectors = finite(
            np.concatenate(
                [
                    model.signatures["item_vectors"](
                        item_id=_as_asked(
                            tf.constant(items[start : start + _ITEMS_AT_ONCE]), of_items[ITEM_ID]
                        )
                    )[_VECTOR].numpy()
                    for start in range(0, len(items), _ITEMS_AT_ONCE)
                ]
            )
        )

    def __call__(self, serialized: tf.Tensor) -> RetrievalPredictions:
        """Ranks of the examples' items.

        Raises:
          preprocessing.records.errors.DamagedRecords: an item is in no table.
          trainer.prediction.NotFiniteError: a user's vector is infinite or NaN.
        """
        parsed = parse_examples(serialized, self._features)
        found = self._model.signatures["user_vectors"](
            **{name: _as_asked(parsed[name], asked) for name, asked in self._inputs.items()}
        )
        positives = self._rows(parsed[ITEM_ID].numpy())
        if not positives.all():
            raise DamagedRecords(
                "an example's item is not in item_attributes.parquet; run 'python -m preprocessing "
                "examples --force' again"
            )
        among_all, among_new = rank_positives(
            finite(found[_VECTOR].numpy()),
            self._item_vectors,
            positives,
            self._rows(parsed[HISTORY_ITEM_ID].numpy()),
        )
        return RetrievalPredictions(
            parsed[USER_ID].numpy().astype(str),
            parsed[ITEM_ID].numpy().astype(str),
            among_all,
            among_new,
        )

    def _rows(self, items: np.ndarray) -> np.ndarray:
        """Catalogue rows of raw ids, 0 for unknown ones and padding: bytes [...] -> int32 [...]."""
        row_of = self._row_of
        rows = np.fromiter((row_of.get(item, 0) for item in items.ravel()), np.int32, items.size)
        return rows.reshape(items.shape)


def _as_asked(values: tf.Tensor, asked: tf.TensorSpec) -> tf.Tensor:
    """Ids of examples, which are strings, as whole numbers where the model asks for these.

    Others, which such a model cannot know, become -1.
    """
    if values.dtype != tf.string or asked.dtype != tf.int64:
        return values
    is_number = tf.strings.regex_full_match(values, "[0-9]{1,18}")
    return tf.strings.to_number(tf.where(is_number, values, str(NO_ID)), tf.int64)
