"""One field from several of one entity, by weights that can be read out."""

from __future__ import annotations

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FactorGate(tf.keras.layers.Layer):
    """a = sum_f g_f a_f with g = softmax(W [a_1, ..., a_F] + b): each entity's own mix of factors.

    Where an LLM is asked factor by factor (genre, plot, mood, ...), every factor's answers are a
    source with an augmented vector a_f of its own. Answers to some factors are redundant or made
    up, and harm (KSER, arXiv 2508.07223); the gate can turn them down, and `weights_of` shows
    which.

    Shapes: [..., factors, width] -> [..., width].

    Example:
      >>> gate = FactorGate()
      >>> gate(tf.ones([4, 9, 32])).shape
      TensorShape([4, 32])
      >>> gate.weights_of(tf.ones([4, 9, 32])).shape
      TensorShape([4, 9])
    """

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates kernel and bias of the gate."""
        factors, width = input_shape[-2:]
        self._kernel = self.add_weight(
            name="kernel", shape=(factors * width, factors), initializer="glorot_uniform"
        )
        self._bias = self.add_weight(name="bias", shape=(factors,), initializer="zeros")
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Mixes the factors."""
        return tf.linalg.matvec(fields, self._shares(fields), transpose_a=True)

    def weights_of(self, fields: tf.Tensor) -> tf.Tensor:
        """The share of each factor: [..., factors, width] -> [..., factors]; they sum to 1."""
        fields = tf.convert_to_tensor(fields)
        if not self.built:
            self(fields)
        return self._shares(tf.cast(fields, self.compute_dtype))

    def _shares(self, fields: tf.Tensor) -> tf.Tensor:
        joined = tf.reshape(fields, [-1, self._kernel.shape[0]])
        logits = tf.linalg.matmul(joined, tf.cast(self._kernel, self.compute_dtype))
        shares = tf.nn.softmax(logits + tf.cast(self._bias, self.compute_dtype), axis=-1)
        return tf.ensure_shape(tf.reshape(shares, tf.shape(fields)[:-1]), fields.shape[:-1])
