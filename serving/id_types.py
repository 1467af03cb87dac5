"""Signatures whose ids are whole numbers, around those whose ids are strings."""

from __future__ import annotations

from collections.abc import Iterable

import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from configs.loading import ConfigurationError
from preprocessing.records.contract import HISTORY_ITEM_ID, ITEM_ID, NO_ID, USER_ID

IDS = (USER_ID, ITEM_ID, HISTORY_ITEM_ID)
"""Features that are raw ids: strings, or whole numbers in exports whose id type is int64."""

_LARGEST = 2**63 - 1


def with_whole_number_ids(signature: ConcreteFunction) -> ConcreteFunction:
    """The signature with int64 in the place of ids that are strings, both in inputs and outputs.

    Padding is -1 in the place of "".

    Args:
      signature: takes named tensors; returned as it is when no id is among them.
    """
    _, inputs = signature.structured_input_signature
    if not inputs.keys() & set(IDS):
        return signature
    specifications = {
        name: tf.TensorSpec(given.shape, tf.int64 if name in IDS else given.dtype, name=name)
        for name, given in inputs.items()
    }

    def run(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        texts = {name: _text(ids) if name in IDS else ids for name, ids in raw.items()}
        outputs = signature(**texts)
        return {
            name: _whole_number(values) if name in IDS else values
            for name, values in outputs.items()
        }

    return tf.function(run).get_concrete_function(**specifications)


def require_whole_numbers(ids: Iterable[str], entity: str) -> None:
    """Makes sure that ids are whole numbers as `str(int)` writes them, from 0 to 2^63 - 1.

    Raises:
      ConfigurationError: one is not.
    """
    for raw_id in ids:
        is_number = raw_id.isascii() and raw_id.isdecimal() and len(raw_id) <= len(str(_LARGEST))
        if not is_number or int(raw_id) > _LARGEST or str(int(raw_id)) != raw_id:
            raise ConfigurationError(
                f"serving.id_type: int64 needs ids that are whole numbers, and {entity} '{raw_id}' "
                "is none; use string"
            )


def _text(ids: tf.Tensor) -> tf.Tensor:
    return tf.where(ids < 0, "", tf.strings.as_string(ids))


def _whole_number(ids: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_number(tf.where(ids == "", str(NO_ID), ids), tf.int64)
