"""Co-attention between a set of candidates and a list of earlier interactions."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layers.masking import masked_softmax, without_padding
from models.registration import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SetToListAttention(tf.keras.layers.Layer):
    """SLAttention: every candidate reads the set and the history by way of their affinity.

    C_ij = tanh((s_i' W_C l_j / sqrt(d) + F_ij) D_ij)          affinity of candidate i and step j
    P_ik = s_i' W_S s_k / sqrt(d),   R_ij = s_i' W_L l_j / sqrt(d)
    A^S_i = softmax_k tanh(P_ik + mean_j R_ij C_kj)            weights of the candidates, for i
    A^L_i = softmax_j tanh(R_ij + mean_k P_ik C_kj)            weights of the steps, for i
    output_i = [sum_k A^S_ik s_k, sum_j A^L_ij l_j]

    with F the feature-level affinity, D the decay of interests, both given, and d the width of a
    candidate.

    Source: "Multi-Level Interaction Reranking with User Behavior History" (MIR, arXiv 2204.09370),
    SLAttention. There W_S and W_L have a column for each place of the list, which ties them to one
    length and one order; here the column of a place is made from the candidate that stands there,
    so that a permutation of the candidates permutes the output, as the paper wants. Products are
    scaled and sums are means, which keeps tanh from saturating on wide inputs and long histories.

    Shapes: set [b, L, d], its mask [b, L], list [b, T, list width], its mask [b, T], F [b, L, T],
    D [b, L, T] -> [b, L, d + list width].
    """

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the three matrices."""
        of_set, of_list = input_shape[0][-1], input_shape[2][-1]
        self._affinity, self._between_candidates, self._to_steps = (
            self.add_weight(name=name, shape=(of_set, width), initializer="glorot_uniform")
            for name, width in (
                ("affinity_kernel", of_list),
                ("between_candidates_kernel", of_set),
                ("to_steps_kernel", of_list),
            )
        )
        super().build(input_shape)

    def call(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        """Attends.

        Args:
          inputs: set [b, L, d], its mask bool [b, L], list [b, T, list width], its mask bool
            [b, T], feature-level affinity [b, L, T], decay [b, L, T].

        Returns:
          [b, L, d + list width].
        """
        members, set_mask, steps, list_mask, features, decay = inputs
        members, steps = without_padding(members, set_mask), without_padding(steps, list_mask)
        pairs = set_mask[:, :, tf.newaxis] & list_mask[:, tf.newaxis]
        features, decay = without_padding(features, pairs), without_padding(decay, pairs)
        scale = float(members.shape[-1]) ** -0.5
        projected = scale * members

        def products(kernel: tf.Variable, others: tf.Tensor) -> tf.Tensor:
            return tf.matmul(tf.tensordot(projected, kernel, axes=1), others, transpose_b=True)

        # Without decay, the affinity of padding is 0.
        affinity = tf.tanh((products(self._affinity, steps) + features) * decay)
        candidates = products(self._between_candidates, members)
        history = products(self._to_steps, steps)
        for_candidates = candidates + _mean(
            tf.matmul(history, affinity, transpose_b=True), list_mask
        )
        for_history = history + _mean(tf.matmul(candidates, affinity), set_mask)
        of_candidates = masked_softmax(tf.tanh(for_candidates), set_mask[:, tf.newaxis])
        of_history = masked_softmax(tf.tanh(for_history), list_mask[:, tf.newaxis])
        return tf.concat([tf.matmul(of_candidates, members), tf.matmul(of_history, steps)], axis=-1)


def _mean(sums: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """Divides sums [b, L, ...] over what is real in mask [b, ...]; 0 over nothing."""
    count = tf.reduce_sum(tf.cast(mask, sums.dtype), axis=1)[:, tf.newaxis, tf.newaxis]
    return tf.math.divide_no_nan(sums, count)
