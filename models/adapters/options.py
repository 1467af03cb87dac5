"""What adapters take from the configuration, and what they ask of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.modelling import Model
from models.knowledge import KnowledgeTable


def common_options(options: Model) -> dict[str, Any]:
    """Constructor arguments that all adapters share."""
    return {
        "knowledge_dropout_rate": options.knowledge_dropout_rate,
        "standardized": options.standardized_knowledge,
    }


def require_field_width(options: Model, key: str, width: int) -> None:
    """Raises ValueError unless augmented vectors are as wide as the model's other fields.

    Args:
      options: the model's configuration.
      key: where the width was configured, e.g. "model.hein.expert_units".
      width: the last entry there.
    """
    if width != options.embedding_dimension:
        raise ValueError(
            f"an augmented vector is one more field, so the last of {key} ({width}) must equal "
            f"model.embedding_dimension ({options.embedding_dimension})"
        )


def require_one_dimension(network: str, tables: Mapping[str, KnowledgeTable]) -> None:
    """Raises ValueError unless the vectors of all sources have one width.

    Args:
      network: what the sources share, e.g. "HEIN".
      tables: source -> knowledge table.
    """
    dimensions = {source: table.dimension for source, table in tables.items()}
    if len(set(dimensions.values())) > 1:
        raise ValueError(
            f"the sources of one {network} need vectors of one width, but there are "
            + ", ".join(f"{source}: {dimension}" for source, dimension in dimensions.items())
            + "; encode them with one encoder, and with a knowledge.encoder.dimension that the "
            "smallest source can fill"
        )
