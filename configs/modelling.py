"""The ranking model and its training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from configs.section import Section


class HybridExpert(Section):
    """Shape of the hybridized expert-integrated network."""

    num_shared_experts: int = Field(2, ge=0, description="experts that serve every source")
    num_dedicated_experts: int = Field(5, ge=0, description="experts of each source alone")
    expert_units: tuple[int, ...] = Field(
        (128, 32), description="layer widths of an expert; the last is the augmented vector's width"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1)


class Match(Section):
    """Knowledge match: how the candidate resembles what the user rated, in knowledge space."""

    source: str = Field("item", description="item source whose vectors are compared")
    history_length: int = Field(200, ge=1, description="newest interactions that take part")
    dimension: int = Field(
        64, ge=2, description="width of the reduced item table (PCA; Nystroem for ridge)"
    )


class Model(Section):
    """The ranking model."""

    backbone: str = Field("din", description="registry name of the ranking model")
    adapter: Literal["none", "hein"] = Field(
        "hein", description="how knowledge vectors become fields of the backbone"
    )
    match: Literal["none", "means", "ridge"] = Field("none", description="kind of knowledge match")
    embedding_dimension: int = Field(32, ge=1, description="width of every field")
    attention_history_length: int = Field(
        30, ge=1, description="newest interactions attention sees"
    )
    top_units: tuple[int, ...] = Field((200, 80), description="widths of the top network")
    dropout_rate: float = Field(0.2, ge=0, lt=1)
    id_dropout_rate: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of candidates whose id is hidden in training (cold start)",
    )
    knowledge_dropout_rate: float = Field(
        0.05, ge=0, lt=1, description="share of entities whose knowledge is hidden in training"
    )
    hein: HybridExpert = HybridExpert()
    knowledge_match: Match = Match()


class Training(Section):
    """How the model is trained."""

    epochs: int = Field(20, ge=1, description="upper bound; early stopping usually ends sooner")
    batch_size: int = Field(512, ge=1)
    learning_rate: float = Field(1e-3, gt=0, description="of Adam, at the start")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="cosine: the learning rate falls to 0 over all epochs"
    )
    embedding_regularization: float = Field(
        0.0, ge=0, description="L2 factor on id embeddings used in a batch"
    )
    patience: int = Field(
        2, ge=0, description="epochs without a better validation AUC before stopping"
    )
    seed: int = 1
