"""The ranking model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from configs.adapters import (
    AdapterName,
    HybridExpert,
    MixtureOfExperts,
    ProductQuantization,
    SharedNetwork,
)
from configs.matching import Match, Prior
from configs.section import ReadsAtMost, Section, TakesEffect

RERANKERS = ("dlcm", "prm", "setrank", "mir")
RETRIEVERS = ("two_tower",)
"""Names of `model.backbone` that are no CTR models."""

WITH_ADAPTER = TakesEffect("model.adapter", unless=("none",))
WITH_FIELDS = TakesEffect("model.adapter", unless=("none", "replace_id"))


class Model(Section):
    """The ranking model."""

    backbone: str = Field(
        "din",
        description="name of a ranking model, a re-ranker or a retrieval model (docs/models)",
    )
    backbone_options: dict[str, object] = Field(
        default_factory=dict,
        description="options of that backbone alone, docs/models/<backbone>.md; for example "
        "model.backbone_options.num_crosses=2",
    )
    adapter: AdapterName = Field(
        "hein",
        description="how knowledge vectors become fields of the backbone (docs/adapters.md); "
        "replace_id: they take the place of the item's id embedding",
    )
    match: Literal["none", "means", "ridge"] = Field("none", description="kind of knowledge match")
    prior: bool = Field(
        False, description="the rating that an item's knowledge lets expect is one more number"
    )
    embedding_dimension: int = Field(32, ge=1, description="width of every field")
    attention_history_length: Annotated[int, ReadsAtMost("data.history_length")] = Field(
        30, ge=1, description="newest interactions attention sees; no more than data.history_length"
    )
    top_units: tuple[int, ...] = Field((200, 80), description="widths of the top network")
    dropout_rate: float = Field(0.2, ge=0, lt=1)
    id_dropout_rate: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of candidates whose id is hidden in training (cold start)",
    )
    knowledge_dropout_rate: Annotated[float, WITH_FIELDS] = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of entities whose knowledge is hidden in training; not for "
        "model.adapter none and replace_id (there model.id_dropout_rate hides items)",
    )
    user_profile: Annotated[bool, TakesEffect("data.profiles.attributes", unless=(None, {}))] = (
        Field(True, description="whether data.profiles.attributes, if there are any, are inputs")
    )
    tasks: Annotated[
        dict[str, Annotated[float, Field(gt=0)]],
        TakesEffect("model.backbone", unless=(*RERANKERS, *RETRIEVERS)),
    ] = Field(
        default_factory=dict,
        description="names from data.labels, learned beside the label, and the weights of their "
        "losses, greater than 0; the label's is 1",
    )
    history_knowledge: Annotated[bool, WITH_FIELDS] = Field(
        False,
        description="knowledge of the history's items stands beside the candidate's inside the "
        "attention; needs an item source and an adapter that makes fields",
    )
    factor_gate: Annotated[bool, WITH_FIELDS] = Field(
        False,
        description="the sources of an entity become one field, weighted by a learned gate that "
        "can be read out; needs two sources of items or of users and an adapter that makes fields",
    )
    zero_start: Annotated[bool, WITH_FIELDS] = Field(
        False,
        description="augmented fields start at zero, so that training begins without them; needs "
        "an adapter that makes fields",
    )
    standardized_knowledge: Annotated[bool, WITH_ADAPTER] = Field(
        False,
        description="every component of a source's vectors gets mean 0 and deviation 1; needs an "
        "adapter",
    )
    alignment_weight: Annotated[float, WITH_FIELDS] = Field(
        0.0,
        ge=0,
        description="weight of the contrastive loss that pulls an item's augmented vector and its "
        "id embedding together; needs an item source and an adapter that makes fields",
    )
    initializer: Literal["keras", "published"] = Field(
        "keras",
        description="published: untruncated normal of deviation sqrt(2 / (fan in + fan out)) for "
        "dense kernels, those that read a recurrent layer's input, and embeddings; the fans of a "
        "kernel that holds several matrices are those of each",
    )
    hein: Annotated[HybridExpert, TakesEffect("model.adapter", ("hein",))] = HybridExpert()
    moe: Annotated[MixtureOfExperts, TakesEffect("model.adapter", ("moe",))] = MixtureOfExperts()
    mlp: Annotated[SharedNetwork, TakesEffect("model.adapter", ("mlp",))] = SharedNetwork()
    pq: Annotated[ProductQuantization, TakesEffect("model.adapter", ("pq",))] = (
        ProductQuantization()
    )
    knowledge_match: Annotated[Match, TakesEffect("model.match", ("means", "ridge"))] = Match()
    knowledge_prior: Annotated[Prior, TakesEffect("model.prior", (True,))] = Prior()
