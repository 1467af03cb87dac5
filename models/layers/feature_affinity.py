"""How well every candidate's fields go with every step's fields."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FeatureAffinity(tf.keras.layers.Layer):
    """C_ij = b + sum_p sum_q a_pq v_ip' W h_jq, over the fields v_ip of i and h_jq of j.

    Source: the feature-level interaction of "Multi-Level Interaction Reranking with User Behavior
    History" (MIR, arXiv 2204.09370), in SLAttention. The weighted sum over pairs of fields is what
    the authors write as a convolution whose kernel and stride are the numbers of fields.

    Shapes: set fields [b, L, set fields, width], list fields [b, T, list fields, width] ->
    [b, L, T].
    """

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the matrix of the fields and the weights of their pairs."""
        (_, _, set_fields, width), (_, _, list_fields, _) = input_shape
        self._kernel = self.add_weight(
            name="kernel", shape=(width, width), initializer="glorot_uniform"
        )
        self._pairs = self.add_weight(
            name="pairs_kernel", shape=(set_fields, list_fields), initializer="glorot_uniform"
        )
        self._bias = self.add_weight(name="bias", shape=(), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Compares all pairs of members.

        Args:
          inputs: set fields [b, L, set fields, width], list fields [b, T, list fields, width].

        Returns:
          [b, L, T].
        """
        of_set, of_list = inputs
        projected = tf.tensordot(of_set, self._kernel, axes=1)
        # One vector for each field of the list, so that the pairs are one product of matrices.
        mixed = tf.einsum("blpw,pq->blqw", projected, self._pairs)
        width = of_list.shape[2] * of_list.shape[3]
        flat_set = tf.reshape(mixed, [tf.shape(mixed)[0], tf.shape(mixed)[1], width])
        flat_list = tf.reshape(of_list, [tf.shape(of_list)[0], tf.shape(of_list)[1], width])
        return tf.matmul(flat_set, flat_list, transpose_b=True) + self._bias
