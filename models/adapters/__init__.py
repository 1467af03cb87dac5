"""Adapters by registry name: how knowledge vectors become fields of the ranking model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from configs.model import Model
from models.adapters.base import KnowledgeAdapter
from models.adapters.hein import hein_adapter
from models.adapters.linear import linear_adapter
from models.adapters.mlp import mlp_adapter
from models.adapters.moe import moe_adapter
from models.adapters.pca import pca_adapter
from models.adapters.pq import pq_adapter
from models.knowledge import KnowledgeTable

ADAPTERS: Mapping[str, Callable[[Model, Mapping[str, KnowledgeTable]], KnowledgeAdapter]] = {
    "linear": linear_adapter,
    "pca": pca_adapter,
    "mlp": mlp_adapter,
    "moe": moe_adapter,
    "hein": hein_adapter,
    "pq": pq_adapter,
}
