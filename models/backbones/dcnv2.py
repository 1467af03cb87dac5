"""Deep & Cross Network, version 2."""

from __future__ import annotations

import tensorflow as tf
import tensorflow_recommenders as tfrs

from models.backbones.dcn import DeepCrossNetwork
from models.layer_support import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class DeepCrossNetworkV2(DeepCrossNetwork):
    """DCN v2: explicit feature crosses beside a dense network.

    x_{l+1} = x_0 * (W_l x_l + b_l) + x_l with full matrices W_l; logit = w' [x_L, MLP(x_0)] + b,
    over x_0 = [attention(candidate, history), candidate, numeric, side].

    Source: "DCN V2" (arXiv 2008.13535), Eq. (1), parallel structure; the crosses are TensorFlow
    Recommenders' own layer. The history is pooled with regard to the candidate, so that DCN v2 is
    as strong a baseline as DIN.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes: those of `DeepCrossNetwork`.
    """

    def new_cross(self) -> tf.keras.layers.Layer:
        """A cross layer with a full matrix."""
        return tfrs.layers.dcn.Cross()

    def crossed(
        self, cross: tf.keras.layers.Layer, first: tf.Tensor, crossed: tf.Tensor
    ) -> tf.Tensor:
        """x_{l+1} of a cross layer, x_0 and x_l."""
        return cross(first, crossed)
