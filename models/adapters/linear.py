"""One linear projection per source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from configs.model import Model
from models.adapters.base import common_options
from models.adapters.source_network import NetworkAdapter, SourceNetwork, Tensors
from models.knowledge import KnowledgeTable
from models.layer_support import PACKAGE


@tf.keras.utils.register_keras_serializable(PACKAGE)
class LinearProjection(SourceNetwork):
    """a_t = W_t x_t + b_t: a projection per source t, whose vectors may have a width of its own.

    The least that joint training can do with knowledge vectors, and so the measure of what experts
    and gates add. Weights start as in REKI (arXiv 2408.10520): normal with deviation
    sqrt(2 / (fan in + fan out)), biases 0.

    Shapes: source -> [n, dimension of the source] in; source -> [n, width] out.

    Attributes:
      sources: names of the sources, in output order.
      width: width of the augmented vectors.
    """

    def __init__(
        self, sources: Sequence[str] = ("user", "item"), width: int = 32, **kwargs: object
    ):
        """Creates the layer; its weights are made when the widths of the inputs are known."""
        super().__init__(sources, width, **kwargs)

    def build(self, input_shape: Mapping[str, tf.TensorShape]) -> None:
        """Creates kernel and bias of every source."""
        dimensions = self._dimensions(input_shape)
        self._projections = {
            source: (
                self._kernel(f"{source}_kernel", dimensions[source], self.width),
                self.add_weight(name=f"{source}_bias", shape=(self.width,), initializer="zeros"),
            )
            for source in self.sources
        }
        super().build(input_shape)

    def call(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """Projects the vectors."""
        self._check_sources(inputs)
        outputs = {}
        for source in self.sources:
            kernel, bias = self._projections[source]
            vectors = tf.cast(inputs[source], self.compute_dtype)
            outputs[source] = tf.linalg.matmul(vectors, kernel) + bias
        return outputs


def linear_adapter(options: Model, tables: Mapping[str, KnowledgeTable]) -> NetworkAdapter:
    """A projection of every source to `model.embedding_dimension`."""
    network = LinearProjection(tuple(tables), options.embedding_dimension)
    return NetworkAdapter(tables, network, **common_options(options))
