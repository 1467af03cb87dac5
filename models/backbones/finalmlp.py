"""FinalMLP."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.backbones.base import Backbone, BackboneInputs, FieldStack, beside_numbers, flat
from models.layer_support import (
    PACKAGE,
    at_least_one_width,
    dividing_heads,
    one_of,
    positive_widths,
)
from models.layers.gates import FeatureGate
from models.layers.interaction import BilinearFusion
from models.layers.top_network import top_network

GATINGS = ("context", "learned", "none")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FinalMLP(Backbone):
    """FinalMLP: two dense networks, each with its own view of the input, fused bilinearly.

    e = [interest, candidate, side, numeric],   h_s = 2 sigmoid(Gate_s(context_s)) * e
    o_s = MLP_s(h_s),   logit = BilinearFusion(o_1, o_2) + u' numeric

    Source: "FinalMLP: An Enhanced Two-Stream MLP Model for CTR Prediction" (arXiv 2304.00902);
    formulas of gate and fusion in `models.layers`. The gates make the streams differ:

    - "context": stream 1 sees the user's view (the context is the interest, drawn from the
      history), stream 2 the item's (the candidate's fields);
    - "learned": each context is a learned vector, so that importances are the same for all samples;
    - "none": no gates (the paper's DualMLP with bilinear fusion).

    The linear term of the numbers is ours.

    Shapes: `BackboneInputs` -> logits [n, 1].

    Attributes:
      top_units: widths of each stream.
      dropout_rate: dropout after each of their layers.
      second_top_units: widths of the second stream; those of the first if None.
      gating: "context", "learned" or "none".
      gate_units: widths of the gates' hidden layers.
      num_heads: heads of the fusion; must divide the last width of both streams.
    """

    def __init__(
        self,
        top_units: Sequence[int] = (200, 80),
        dropout_rate: float = 0.0,
        second_top_units: Sequence[int] | None = None,
        gating: str = "context",
        gate_units: Sequence[int] = (64,),
        num_heads: int = 1,
        **kwargs: object,
    ):
        """Creates the layers.

        Raises:
          ValueError: an option has a value that makes no sense.
        """
        super().__init__(top_units, dropout_rate, **kwargs)
        one_of(GATINGS, gating=gating)
        positive_widths(gate_units=gate_units)
        at_least_one_width(top_units=top_units)
        if second_top_units is not None:
            at_least_one_width(second_top_units=second_top_units)
        self.second_top_units = None if second_top_units is None else tuple(second_top_units)
        second_units = self.second_top_units or self.top_units
        dividing_heads(num_heads, first_width=self.top_units[-1], second_width=second_units[-1])
        self.gating = gating
        self.gate_units = tuple(gate_units)
        self.num_heads = num_heads
        self._fields = FieldStack()
        self._streams = [
            top_network(units, dropout_rate, name=name)
            for units, name in (
                (self.top_units, "first_stream"),
                (second_units, "second_stream"),
            )
        ]
        self._gates = [] if gating == "none" else [FeatureGate(gate_units) for _ in range(2)]
        self._fusion = BilinearFusion(num_heads)
        self._linear = tf.keras.layers.Dense(1, use_bias=False)

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the contexts, if they are learned."""
        if self.gating == "learned":
            width = BackboneInputs(*input_shape).candidate[-1]
            self._contexts = [
                self.add_weight(
                    name=f"{name}_context",
                    shape=(1, width),
                    initializer=tf.keras.initializers.RandomNormal(),
                )
                for name in ("first", "second")
            ]
        super().build(input_shape)

    def call(self, inputs: BackboneInputs, training: bool | None = None) -> tf.Tensor:
        """Scores a batch."""
        fields = self._fields(inputs, training=training)
        joined = beside_numbers(fields, inputs.numeric)
        views = [joined, joined]
        if self.gating != "none":
            contexts = (
                self._contexts
                if self.gating == "learned"
                else [fields[:, 0], flat(inputs.candidate)]
            )
            views = [
                gate((joined, context)) for gate, context in zip(self._gates, contexts, strict=True)
            ]
        first, second = (
            stream(view, training=training)
            for stream, view in zip(self._streams, views, strict=True)
        )
        return self._fusion((first, second)) + self._linear(inputs.numeric)
