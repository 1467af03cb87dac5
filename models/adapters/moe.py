"""One mixture of experts, pool and gate, that serves all sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tensorflow as tf

from configs.model import Model
from models.adapters.base import common_options, require_field_width, require_one_dimension
from models.adapters.source_network import GatedAdapter, SourceNetwork, Tensors
from models.hein import HybridExpertNetwork
from models.knowledge import KnowledgeTable
from models.layer_support import PACKAGE

_ALL = "all"


@tf.keras.utils.register_keras_serializable(PACKAGE)
class MixtureOfExperts(SourceNetwork):
    """a_t = sum_e softmax(W x_t + b)_e E_e(x_t): experts E_e and gate W, b serve all sources t.

    The second of the variants that REKI (arXiv 2408.10520) compares its hybridized experts with:
    nothing is dedicated to a source. Experts are those of `models.hein.HybridExpertNetwork`, Dense
    ReLU Dropout layer by layer, computed together.

    Shapes: source -> [n, dimension] in; source -> [n, expert_units[-1]] out.

    Attributes:
      sources: names of the sources, in output order.
      num_experts: experts of the one pool.
      expert_units: layer widths of an expert; the last is the width of the augmented vectors.
      dropout_rate: dropout after every expert layer, in training only.
    """

    def __init__(
        self,
        sources: Sequence[str] = ("user", "item"),
        num_experts: int = 7,
        expert_units: Sequence[int] = (128, 32),
        dropout_rate: float = 0.0,
        **kwargs: object,
    ):
        """Creates the layer; its weights are made when the width of the inputs is known.

        Raises:
          ValueError: no expert, no layer, or a width or rate out of range.
        """
        if num_experts < 1:
            raise ValueError(f"there must be an expert. Received: num_experts={num_experts}")
        if not expert_units:
            raise ValueError("expert_units must be positive widths. Received: expert_units=()")
        super().__init__(sources, expert_units[-1], **kwargs)
        self.num_experts = num_experts
        self.expert_units = tuple(expert_units)
        self.dropout_rate = dropout_rate
        # Experts and gate of one source are what all sources share here.
        self._pool = HybridExpertNetwork(
            sources=(_ALL,),
            num_shared_experts=num_experts,
            num_dedicated_experts=0,
            expert_units=expert_units,
            dropout_rate=dropout_rate,
            dtype=self.dtype_policy,
        )

    @property
    def num_shared_experts(self) -> int:
        """Experts that serve all sources: all of them."""
        return self.num_experts

    def build(self, input_shape: Mapping[str, tf.TensorShape]) -> None:
        """Creates the weights of experts and gate."""
        dimension = self._one_dimension(input_shape)
        if not self._pool.built:
            self._pool.build({_ALL: tf.TensorShape([None, dimension])})
        super().build(input_shape)

    def call(self, inputs: Tensors, training: bool | None = None) -> dict[str, tf.Tensor]:
        """Computes the augmented vectors."""
        outputs = self._pool({_ALL: self._joined(inputs)}, training=training)
        return self._parted(outputs[_ALL], inputs)

    def gates(self, inputs: Tensors) -> dict[str, tf.Tensor]:
        """The share each expert has in each output: source -> [n, experts]; rows sum to 1."""
        return self._parted(self._pool.gates({_ALL: self._joined(inputs)})[_ALL], inputs)


def moe_adapter(options: Model, tables: Mapping[str, KnowledgeTable]) -> GatedAdapter:
    """One mixture of the shape `model.moe` for all sources.

    Raises:
      ValueError: its width is not model.embedding_dimension, or the sources' widths differ.
    """
    shape = options.moe
    require_field_width(options, "model.moe.expert_units", shape.expert_units[-1])
    require_one_dimension("mixture of experts", tables)
    network = MixtureOfExperts(
        tuple(tables), shape.num_experts, shape.expert_units, shape.dropout_rate
    )
    return GatedAdapter(tables, network, **common_options(options))
