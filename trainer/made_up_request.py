"""A request about nobody and nothing, in the form that a model reads."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.inputs import USER_STATISTICS
from models.profiles import ProfileAttribute, raw_profile_key
from preprocessing.records.contract import RERANK


def made_up_request(model: tfrs.models.Model) -> dict[str, tf.Tensor]:
    """Raw features of one user and one candidate; for a re-ranker, of one list of one candidate."""
    one = tf.ones([1])
    nobody = tf.constant([""])
    request = {
        "user_id": nobody,
        "item_id": nobody[:, tf.newaxis] if model.kind == RERANK else nobody,
        "history_item_id": nobody[:, tf.newaxis],
        "history_rating": one[:, tf.newaxis],
        **dict.fromkeys(USER_STATISTICS, one),
    }
    for name, attribute in model.inputs_preparation.profile_attributes.items():
        request[raw_profile_key(name)] = _unknown(attribute)
    return request


def _unknown(attribute: ProfileAttribute) -> tf.Tensor:
    return tf.constant([[""]]) if attribute.kind == "categorical" else tf.constant([[float("nan")]])
