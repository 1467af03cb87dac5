"""The hybridized expert-integrated network as an adapter."""

from __future__ import annotations

from collections.abc import Mapping

from configs.model import Model
from models.adapters.base import common_options, require_field_width, require_one_dimension
from models.adapters.source_network import GatedAdapter
from models.hein import HybridExpertNetwork
from models.knowledge import KnowledgeTable


def hein_adapter(options: Model, tables: Mapping[str, KnowledgeTable]) -> GatedAdapter:
    """Shared and dedicated experts of the shape `model.hein`, a gate per source.

    Raises:
      ValueError: its width is not model.embedding_dimension, or the sources' widths differ.
    """
    shape = options.hein
    require_field_width(options, "model.hein.expert_units", shape.expert_units[-1])
    require_one_dimension("HEIN", tables)
    network = HybridExpertNetwork(
        sources=tuple(tables),
        num_shared_experts=shape.num_shared_experts,
        num_dedicated_experts=shape.num_dedicated_experts,
        expert_units=shape.expert_units,
        dropout_rate=shape.dropout_rate,
        training_precision=shape.training_precision,
    )
    return GatedAdapter(tables, network, **common_options(options))
