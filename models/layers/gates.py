"""Gates: what decides how much of a field, an input or a factor passes."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.layer_support import PACKAGE, ConfiguredLayer, one_of, positive
from models.layers.top_network import top_network

EXCITATION_ACTIVATIONS = ("relu", "sigmoid")


@tf.keras.utils.register_keras_serializable(PACKAGE)
class SqueezeExcitation(ConfiguredLayer):
    """SENet over fields: v_i = a_i e_i with a = act(W_2 ReLU(W_1 z)) and z_i the mean of e_i.

    Source: "FiBiNET" (arXiv 1905.09433), Section 3.3, whose reduction ratio r is the factor 1/r
    here. REKI (arXiv 2408.10520) widens instead: factor 2.

    Shapes: [n, fields, width] -> [n, fields, width].

    Attributes:
      factor: hidden units per field, at least one unit in all.
      activation: of the weights. "relu", the paper's, can switch a field off; "sigmoid" cannot.
    """

    def __init__(self, factor: float = 2.0, activation: str = "relu", **kwargs: object):
        """Creates the layer.

        Raises:
          ValueError: the factor is not positive, or the activation is unknown.
        """
        super().__init__(**kwargs)
        positive(factor=factor)
        one_of(EXCITATION_ACTIVATIONS, activation=activation)
        self.factor = factor
        self.activation = activation

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the two layers of the excitation."""
        fields = input_shape[1]
        hidden_units = max(1, int(fields * self.factor))
        self._hidden = tf.keras.layers.Dense(hidden_units, activation="relu", use_bias=False)
        self._weights = tf.keras.layers.Dense(fields, activation=self.activation, use_bias=False)
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Weighs the fields."""
        weights = self._weights(self._hidden(tf.reduce_mean(fields, axis=2)))
        return fields * weights[:, :, tf.newaxis]


@tf.keras.utils.register_keras_serializable(PACKAGE)
class FeatureGate(ConfiguredLayer):
    """h = 2 sigmoid(g) * e with g = Gate(context), a small dense network.

    Source: stream-specific feature selection of "FinalMLP: An Enhanced Two-Stream MLP Model for CTR
    Prediction" (arXiv 2304.00902). The factor 2 keeps importances around 1.

    Shapes: features [n, width] and context [n or 1, context width] -> [n, width].

    Attributes:
      hidden_units: widths of the gate's hidden layers.
    """

    def __init__(self, hidden_units: Sequence[int] = (64,), **kwargs: object):
        """Creates the layer."""
        super().__init__(**kwargs)
        self.hidden_units = tuple(hidden_units)

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates the gate."""
        self._hidden = top_network(self.hidden_units, dropout_rate=0.0, name="gate")
        self._importance = tf.keras.layers.Dense(input_shape[0][-1], activation="sigmoid")
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Weights the features.

        Args:
          inputs: features [n, width], context [n or 1, context width].

        Returns:
          [n, width].
        """
        features, context = inputs
        return 2.0 * self._importance(self._hidden(context)) * features


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


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MaskBlock(ConfiguredLayer):
    """mask = W_2 ReLU(W_1 instance + b_1) + b_2,   output = ReLU(LayerNorm(W (mask * hidden))).

    Source: "MaskNet: Introducing Feature-Wise Multiplication to CTR Ranking Models by
    Instance-Guided Mask" (arXiv 2102.07619), Eq. (5), (12) and (14). The instance is always the
    embedding of the whole sample; hidden is that embedding, normalised field by field
    (`FieldNormalization`), or the output of another block.

    Shapes: instance [n, instance width] and hidden [n, hidden width] -> [n, units].

    Attributes:
      units: width of the output.
      reduction_ratio: width of the mask's inner layer in parts of the hidden width; from 1 to 5 the
        paper sees little difference, so take a small one.
    """

    def __init__(self, units: int, reduction_ratio: float = 1.0, **kwargs: object):
        """Creates the block.

        Raises:
          ValueError: the ratio is not positive.
        """
        super().__init__(**kwargs)
        positive(reduction_ratio=reduction_ratio)
        self.units = units
        self.reduction_ratio = reduction_ratio

    def build(self, input_shape: Sequence[tf.TensorShape]) -> None:
        """Creates mask and hidden layer."""
        width = input_shape[1][-1]
        self._aggregation = tf.keras.layers.Dense(
            max(1, round(self.reduction_ratio * width)), activation="relu"
        )
        self._projection = tf.keras.layers.Dense(width)
        self._hidden = tf.keras.layers.Dense(self.units, use_bias=False)
        self._normalise = tf.keras.layers.LayerNormalization(epsilon=1e-5)
        super().build(input_shape)

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Masks the hidden vector and transforms it.

        Args:
          inputs: instance [n, instance width], hidden [n, hidden width].

        Returns:
          [n, units].
        """
        instance, hidden = inputs
        mask = self._projection(self._aggregation(instance))
        return tf.nn.relu(self._normalise(self._hidden(mask * hidden)))


@tf.keras.utils.register_keras_serializable(PACKAGE)
class ZeroStart(tf.keras.layers.Layer):
    """z_f = alpha_f a_f with one trained number alpha_f per field, 0 at first.

    Augmented vectors that are random when training begins disturb what the other fields learn.
    Behind this layer the model begins as if without them and lets each in as far as it lowers the
    loss (ReZero, arXiv 2003.04887, does so with residual branches). Until alpha has moved, no
    gradient reaches what computes the fields; it moves in the first step.

    Shapes: [..., fields, width] -> [..., fields, width].
    """

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the number of every field."""
        self._alpha = self.add_weight(name="alpha", shape=(input_shape[-2],), initializer="zeros")
        super().build(input_shape)

    def call(self, fields: tf.Tensor) -> tf.Tensor:
        """Scales the fields."""
        return fields * self._alpha[:, tf.newaxis]
