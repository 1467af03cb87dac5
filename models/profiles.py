"""The user's profile as model inputs: a field per categorical attribute, numbers for the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import tensorflow as tf

from models.item_ids import INITIAL_DEVIATION
from models.layers.normalization import BatchStandardization

_MOMENTUM = 0.95


@dataclass(frozen=True)
class ProfileAttribute:
    """One attribute of a user.

    Attributes:
      kind: "categorical", with any number of values, or "numeric".
      vocabulary: known values of a categorical attribute; value i has index i + 2 (0 is padding,
        1 unknown).
    """

    kind: Literal["categorical", "numeric"]
    vocabulary: Sequence[str] = ()


class ProfileLookup(tf.Module):
    """Raw profile features -> indices and numbers, without any trained weight.

    Raw features: `profile_<name>` [m, values], strings padded with "" or numbers, of which the
    first counts and NaN means unknown.
    """

    def __init__(self, attributes: Mapping[str, ProfileAttribute]):
        """Builds the vocabularies' lookups."""
        super().__init__(name="profile_lookup")
        self.attributes = dict(attributes)
        self._lookups = {
            name: tf.keras.layers.StringLookup(
                vocabulary=np.asarray(attribute.vocabulary, dtype=str),
                mask_token="",
                num_oov_indices=1,
            )
            for name, attribute in self.attributes.items()
            if attribute.kind == "categorical" and len(attribute.vocabulary)
        }

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Prepared features: `profile/<name>`, int32 [m, values] or float32 [m, 1]."""
        prepared = {}
        for name, attribute in self.attributes.items():
            values = raw[raw_profile_key(name)]
            if attribute.kind == "categorical":
                # Where no value is known, each is the unknown one, of index 1.
                indices = self._lookups[name](values) if name in self._lookups else values != ""
                prepared[profile_key(name)] = tf.cast(indices, tf.int32)
            else:
                # A batch in which nobody has the number has no column.
                unknown = tf.fill([tf.shape(values)[0], 1], np.float32(np.nan))
                first = tf.concat([values, unknown], axis=1)[:, :1]
                prepared[profile_key(name)] = tf.ensure_shape(first, [values.shape[0], 1])
        return prepared


class ProfileEncoder(tf.keras.layers.Layer):
    """Embeds what `ProfileLookup` gives.

    A categorical attribute is the mean embedding of its values; without any value it is the
    embedding of "unknown". A number is standardised by moving statistics of the training samples,
    and 0 with a flag where it is not known.

    Shapes: `profile/<name>` -> fields [m, categorical attributes, width], numbers [m, 2 * numeric
      attributes].

    Attributes:
      attributes: the attributes by name.
      embedding_dimension: width of a field.
    """

    def __init__(
        self,
        attributes: Mapping[str, ProfileAttribute],
        embedding_dimension: int,
        **kwargs: object,
    ):
        """Creates the encoder."""
        super().__init__(autocast=False, **kwargs)
        self.attributes = dict(attributes)
        self.embedding_dimension = embedding_dimension

    def build(self, input_shape: object) -> None:
        """Creates embeddings and moving statistics."""
        self._embeddings = {
            name: self.add_weight(
                name=f"{name}_embedding",
                shape=(len(attribute.vocabulary) + 2, self.embedding_dimension),
                initializer=tf.keras.initializers.RandomNormal(stddev=INITIAL_DEVIATION),
            )
            for name, attribute in self.attributes.items()
            if attribute.kind == "categorical"
        }
        self._standardise = {
            # Years and incomes need more digits than bfloat16 has.
            name: BatchStandardization(_MOMENTUM, dtype=tf.float32, name=f"{name}_statistics")
            for name, attribute in self.attributes.items()
            if attribute.kind == "numeric"
        }
        super().build(input_shape)

    def call(
        self, prepared: Mapping[str, tf.Tensor], training: bool | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Embeds the profiles of m users."""
        fields = [
            self._embedded(prepared[profile_key(name)], embedding)
            for name, embedding in self._embeddings.items()
        ]
        numbers = [
            part
            for name, standardise in self._standardise.items()
            for part in _number(prepared[profile_key(name)], standardise, training)
        ]
        users = tf.shape(prepared[profile_key(next(iter(self.attributes)))])[0]
        return (
            tf.stack(fields, axis=1)
            if fields
            else tf.zeros([users, 0, self.embedding_dimension], self.compute_dtype),
            tf.cast(tf.concat(numbers, axis=1), self.compute_dtype)
            if numbers
            else tf.zeros([users, 0], self.compute_dtype),
        )

    def _embedded(self, indices: tf.Tensor, embedding: tf.Variable) -> tf.Tensor:
        # At least one value: somebody without any is "unknown".
        unknown = tf.cast(tf.reduce_all(indices == 0, axis=1, keepdims=True), indices.dtype)
        indices = tf.concat([indices, unknown], axis=1)
        is_present = tf.cast(indices > 0, self.compute_dtype)[:, :, tf.newaxis]
        values = (
            tf.cast(tf.nn.embedding_lookup(embedding, indices), self.compute_dtype) * is_present
        )
        return tf.reduce_sum(values, axis=1) / tf.reduce_sum(is_present, axis=1)


def raw_profile_key(name: str) -> str:
    """Name of the raw feature of an attribute."""
    return f"profile_{name}"


def profile_key(name: str) -> str:
    """Name of the prepared feature of an attribute."""
    return f"profile/{name}"


def _number(
    values: tf.Tensor, standardise: tf.keras.layers.Layer, training: bool | None
) -> tuple[tf.Tensor, tf.Tensor]:
    is_finite = tf.math.is_finite(values)
    filled = tf.where(is_finite, values, 0.0)
    scaled = standardise(filled, training=training, mask=is_finite[:, 0])
    flag = tf.cast(is_finite, scaled.dtype)
    return scaled * flag, 1.0 - flag
