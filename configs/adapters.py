"""Adapters: how knowledge vectors become inputs of the ranking model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from configs.section import Section

AdapterName = Literal["none", "linear", "pca", "mlp", "moe", "hein", "pq", "replace_id"]

FIELD_OPTIONS = ("history_knowledge", "factor_gate", "zero_start", "alignment_weight")
"""Options of `model` about the fields of augmented vectors; replace_id makes no such fields."""


class HybridExpert(Section):
    """Shape of the hybridized expert-integrated network."""

    num_shared_experts: int = Field(2, ge=0, description="experts that serve every source")
    num_dedicated_experts: int = Field(5, ge=0, description="experts of each source alone")
    expert_units: tuple[int, ...] = Field(
        (128, 32), description="layer widths of an expert; the last is the augmented vector's width"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1)
    training_precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="of the experts' products in training; bfloat16 is faster on processors with "
        "AMX or AVX-512 BF16, slower on others",
    )


class MixtureOfExperts(Section):
    """Shape of the mixture of experts that has one pool and one gate for all sources."""

    num_experts: int = Field(7, ge=1, description="experts of the one pool")
    expert_units: tuple[int, ...] = Field(
        (128, 32), description="layer widths of an expert; the last is the augmented vector's width"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1)


class SharedNetwork(Section):
    """Shape of the one dense network that serves all sources."""

    units: tuple[int, ...] = Field(
        (128, 32), description="layer widths; the last is the augmented vector's width"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1)


class ProductQuantization(Section):
    """Discrete codes of knowledge vectors, each with a trained embedding."""

    num_codebooks: int = Field(16, ge=1, description="parts a vector is cut into")
    codebook_size: int = Field(64, ge=2, le=65536, description="codes of each part")
    seed: int = Field(0, description="seed of the clustering")
