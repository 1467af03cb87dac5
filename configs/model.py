"""The ranking model: backbone, adapter, knowledge match and knowledge prior."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveInt, WithJsonSchema, field_validator
from pydantic_core import PydanticCustomError

from configs.section import (
    EntryTakesEffect,
    FixedInArms,
    NamesRun,
    OfSources,
    ReadsAtMost,
    Role,
    Section,
    TakesEffect,
    named_once,
    split_names,
)

Widths = Annotated[tuple[PositiveInt, ...], Field(min_length=1)]


class HybridExpert(Section):
    """Shape of the hybridized expert-integrated network."""

    num_shared_experts: int = Field(2, ge=0, description="experts that serve every source")
    num_dedicated_experts: int = Field(5, ge=0, description="experts of each source alone")
    expert_units: Widths = Field(
        (128, 32), description="layer widths of an expert; the last is the augmented vector's width"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1, description="in the hidden layers")
    training_precision: Annotated[
        Literal["float32", "bfloat16"],
        TakesEffect("training.precision", unless=("mixed_bfloat16",)),
    ] = Field(
        "float32",
        description="of the experts' products in training; bfloat16 is faster on processors with "
        "AMX or AVX-512 BF16, slower on others",
    )


class MixtureOfExpertsSettings(Section):
    """Shape of the mixture of experts that has one pool and one gate for all sources."""

    num_experts: int = Field(7, ge=1, description="experts of the one pool")
    expert_units: Widths = Field(
        (128, 32), description="layer widths of an expert; the last is the augmented vector's width"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1, description="in the hidden layers")


class SharedNetwork(Section):
    """Shape of the one dense network that serves all sources."""

    units: Widths = Field(
        (128, 32), description="layer widths; the last is the augmented vector's width"
    )
    dropout_rate: float = Field(0.0, ge=0, lt=1, description="in the hidden layers")


class ProductQuantization(Section):
    """Discrete codes of knowledge vectors, each with a trained embedding."""

    num_codebooks: int = Field(16, ge=1, description="parts a vector is cut into")
    codebook_size: int = Field(64, ge=2, le=65536, description="codes of each part")
    seed: int = Field(0, ge=0, description="seed of the clustering")


WITH_RIDGE = TakesEffect("model.match", ("ridge",))
IF_LINKS = OfSources(".sources", "links")
IF_NOT_ALL_LINKS = OfSources(
    ".sources", "links", lacking=True, or_else=TakesEffect("model.match", ("means",))
)


class Match(Section):
    """Knowledge match: how the candidate resembles what the user rated, in knowledge space."""

    sources: Annotated[tuple[str, ...], NamesRun()] = Field(
        ("item",),
        min_length=1,
        description="item sources whose vectors are compared; each gives features of its own",
    )
    history_length: Annotated[int, ReadsAtMost("data.history_length")] = Field(
        200,
        ge=1,
        description="newest interactions that take part; no more than data.history_length",
    )
    dimension: Annotated[
        int,
        TakesEffect(".form", ("low_rank",), or_else=TakesEffect("model.match", ("means",))),
        IF_NOT_ALL_LINKS,
    ] = Field(
        64,
        ge=2,
        description="width of the reduced item table (PCA for means, Nystroem for ridge); not for "
        "ridge's exact form, which compares whole vectors",
    )
    form: Annotated[Literal["low_rank", "exact"], WITH_RIDGE, NamesRun()] = Field(
        "low_rank",
        description="ridge: low_rank solves in 'dimension' features, exact in the interactions "
        "themselves (slower with long histories)",
    )
    learned: Annotated[bool, NamesRun("learned")] = Field(
        False,
        description="kernel parameters are trained with the model, from the values below; "
        "the features are then computed in every step",
    )
    length_scale: Annotated[float, WITH_RIDGE, IF_NOT_ALL_LINKS] = Field(
        0.5, gt=0, description="ridge: of the kernel over cosines"
    )
    link_dimension: Annotated[int, TakesEffect(".form", ("low_rank",)), WITH_RIDGE, IF_LINKS] = (
        Field(
            128,
            ge=2,
            description="ridge's low_rank form: 'dimension' of sources with links, whose vectors "
            "fewer landmarks blur",
        )
    )
    link_length_scale: Annotated[float, WITH_RIDGE, IF_LINKS] = Field(
        1.0, gt=0, description="ridge: 'length_scale' of sources with links"
    )
    bias: Annotated[float, WITH_RIDGE] = Field(
        0.3, gt=0, description="ridge: constant part of the kernel"
    )
    noise: Annotated[float, WITH_RIDGE] = Field(
        1.0, gt=0, description="ridge: variance of a rating"
    )
    dropout_rate: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of training samples for which a source's features are hidden, each "
        "source on its own; keeps a strong source from silencing those that know new items",
    )

    _split_sources = field_validator("sources", mode="before")(split_names)
    _each_source_once = field_validator("sources")(named_once)

    def for_links(self) -> Match:
        """What ridge takes for a source with links: its options in the place of the general."""
        return self.model_copy(
            update={"dimension": self.link_dimension, "length_scale": self.link_length_scale}
        )


class Prior(Section):
    """Knowledge prior: the rating that an item's knowledge lets expect."""

    sources: Annotated[tuple[str, ...], NamesRun()] = Field(
        ("item",), min_length=1, description="item sources, each with a prior of its own"
    )
    dimension: Annotated[int, OfSources(".sources", "links", lacking=True)] = Field(
        64, ge=2, description="landmarks of the kernel regression"
    )
    link_dimension: Annotated[int, IF_LINKS] = Field(
        512, ge=2, description="'dimension' of sources with links, whose vectors fewer blur"
    )
    length_scale: float = Field(0.5, gt=0, description="of the kernel over cosines")
    folds: int = Field(5, ge=2, description="parts of the items, each predicted from the others")

    _split_sources = field_validator("sources", mode="before")(split_names)
    _each_source_once = field_validator("sources")(named_once)

    def for_links(self) -> Prior:
        """What a source with links takes: its own number of landmarks."""
        return self.model_copy(update={"dimension": self.link_dimension})


BACKBONES = {
    "din": "models.backbones.din:DeepInterestNetwork",
    "dien": "models.backbones.dien:DeepInterestEvolutionNetwork",
    "dcn": "models.backbones.dcn:DeepCrossNetwork",
    "dcnv2": "models.backbones.dcnv2:DeepCrossNetworkV2",
    "deepfm": "models.backbones.deepfm:DeepFactorizationMachine",
    "xdeepfm": "models.backbones.xdeepfm:ExtremeDeepFactorizationMachine",
    "autoint": "models.backbones.autoint:AutomaticFeatureInteraction",
    "fibinet": "models.backbones.fibinet:FeatureImportanceBilinearNetwork",
    "fignn": "models.backbones.fignn:FeatureInteractionGraphNetwork",
    "dlrm": "models.backbones.dlrm:DeepLearningRecommendationModel",
    "wide_deep": "models.backbones.wide_deep:WideDeep",
    "pnn": "models.backbones.pnn:ProductNetwork",
    "masknet": "models.backbones.masknet:MaskNet",
    "finalmlp": "models.backbones.finalmlp:FinalMLP",
    "bst": "models.backbones.bst:BehaviorSequenceTransformer",
}
RERANKERS = {
    "dlcm": "models.rerankers.dlcm:DeepListwiseContextModel",
    "prm": "models.rerankers.prm:PersonalizedReranking",
    "setrank": "models.rerankers.setrank:SetRank",
    "mir": "models.rerankers.mir:MultiLevelInteractionReranking",
}
RETRIEVERS = {"two_tower": "models.retrieval.two_tower:TwoTower"}
ADAPTERS = {
    "linear": "models.adapters.linear:linear_adapter",
    "pca": "models.adapters.pca:pca_adapter",
    "mlp": "models.adapters.mlp:mlp_adapter",
    "moe": "models.adapters.moe:moe_adapter",
    "hein": "models.adapters.hein:hein_adapter",
    "pq": "models.adapters.pq:pq_adapter",
}
"""The registries: a name of the configuration -> where `models` finds what it names.

They stand here as text, so that a misspelt name is found before TensorFlow is loaded.
"""


def _one_of(*names: Iterable[str]) -> tuple[AfterValidator, WithJsonSchema]:
    """The check, and the schema, of a name from tables that may grow."""

    def known_name(name: str) -> str:
        allowed = [*itertools.chain(*names)]
        if name not in allowed:
            *first, last = map(repr, allowed)
            expected = f"{', '.join(first)} or {last}"
            raise PydanticCustomError(
                "literal_error", "Input should be {expected}", {"expected": expected}
            )
        return name

    schema = {"type": "string", "enum": [*itertools.chain(*names)]}
    return AfterValidator(known_name), WithJsonSchema(schema)


BackboneName = Annotated[str, *_one_of(BACKBONES, RERANKERS, RETRIEVERS)]
AdapterName = Annotated[str, *_one_of(("none",), ADAPTERS, ("replace_id",))]

WITH_ADAPTER = TakesEffect("model.adapter", unless=("none",))
WITH_FIELDS = TakesEffect("model.adapter", unless=("none", "replace_id"))


class Model(Section):
    """The ranking model."""

    backbone: Annotated[
        BackboneName,
        NamesRun(always=True, details="model.backbone_options"),
        FixedInArms("the experiment sets it for every backbone"),
    ] = Field(
        "din",
        description="name of a ranking model, a re-ranker or a retrieval model (docs/models)",
    )
    backbone_options: Annotated[
        dict[str, object],
        EntryTakesEffect("num_blocks", 3, TakesEffect(".arrangement", unless=("serial",))),
        EntryTakesEffect("block_units", 64, TakesEffect(".arrangement", unless=("serial",))),
        EntryTakesEffect("gate_units", [64], TakesEffect(".gating", unless=("none",))),
        EntryTakesEffect("num_points", 20, TakesEffect(".attention", unless=("full",))),
    ] = Field(
        default_factory=dict,
        description="options of that backbone alone, docs/models/<backbone>.md; for example "
        "model.backbone_options.num_crosses=2",
    )
    adapter: Annotated[AdapterName, NamesRun(always=True, details="knowledge.sources")] = Field(
        "hein",
        description="how knowledge vectors become fields of the backbone (docs/adapters.md); "
        "replace_id: they take the place of the item's id embedding",
    )
    match: Annotated[
        Literal["none", "means", "ridge"], NamesRun(details="model.knowledge_match"), Role.INPUTS
    ] = Field("none", description="kind of knowledge match")
    prior: Annotated[bool, NamesRun("prior", details="model.knowledge_prior"), Role.INPUTS] = Field(
        False, description="the rating that an item's knowledge lets expect is one more number"
    )
    embedding_dimension: int = Field(32, ge=1, description="width of every field")
    attention_history_length: Annotated[int, ReadsAtMost("data.history_length"), Role.INPUTS] = (
        Field(
            30,
            ge=1,
            description="newest interactions attention sees; no more than data.history_length",
        )
    )
    top_units: tuple[PositiveInt, ...] = Field(
        (200, 80),
        description="widths of the top network; autoint and fignn have one with "
        "model.backbone_options.deep_part",
    )
    dropout_rate: float = Field(
        0.2, ge=0, lt=1, description="in the hidden layers of the top network"
    )
    id_dropout_rate: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="share of candidates whose id is hidden in training (cold start)",
    )
    id_dropout_hides: Annotated[
        Literal["id", "interactions"],
        TakesEffect("model.id_dropout_rate", unless=(0.0,)),
        NamesRun("hides-{}"),
    ] = Field(
        "id",
        description="what a candidate with a hidden id lacks. interactions: the id, its "
        "statistics and its match with sources that are made from interactions, so that it looks "
        "like a new item (docs/training.md)",
    )
    knowledge_dropout_rate: Annotated[float, WITH_FIELDS] = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of entities whose knowledge is hidden in training; not for "
        "model.adapter none and replace_id (there model.id_dropout_rate hides items)",
    )
    tasks: Annotated[
        dict[str, Annotated[float, Field(gt=0)]],
        TakesEffect("model.backbone", unless=(*RERANKERS, *RETRIEVERS)),
        NamesRun("tasks-{}"),
        Role.INPUT_NAMES,
    ] = Field(
        default_factory=dict,
        description="names from data.labels, learned beside the label, and the weights of their "
        "losses, greater than 0; the label's is 1",
    )
    history_knowledge: Annotated[bool, WITH_FIELDS, NamesRun("historyknowledge"), Role.INPUTS] = (
        Field(
            False,
            description="knowledge of the history's items stands beside the candidate's inside the "
            "attention; needs an item source and an adapter that makes fields",
        )
    )
    factor_gate: Annotated[bool, WITH_FIELDS, NamesRun("factorgate")] = Field(
        False,
        description="the sources of an entity become one field, weighted by a learned gate that "
        "can be read out; needs two sources of items or of users and an adapter that makes fields",
    )
    zero_start: Annotated[bool, WITH_FIELDS, NamesRun("zerostart")] = Field(
        False,
        description="augmented fields start at zero, so that training begins without them; needs "
        "an adapter that makes fields",
    )
    standardized_knowledge: Annotated[bool, WITH_ADAPTER, NamesRun("standardized")] = Field(
        False,
        description="every component of a source's vectors gets mean 0 and deviation 1; needs an "
        "adapter",
    )
    alignment_weight: Annotated[float, WITH_FIELDS, NamesRun("alignment-{}")] = Field(
        0.0,
        ge=0,
        description="weight of the contrastive loss that pulls an item's augmented vector and its "
        "id embedding together; needs an item source and an adapter that makes fields",
    )
    initializer: Annotated[Literal["keras", "published"], NamesRun()] = Field(
        "keras",
        description="published: untruncated normal of deviation sqrt(2 / (fan in + fan out)) for "
        "dense kernels, those that read a recurrent layer's input, and embeddings; the fans of a "
        "kernel that holds several matrices are those of each",
    )
    user_profile: Annotated[
        bool,
        TakesEffect("data.profiles.attributes", unless=(None, {})),
        NamesRun("noprofile"),
        Role.INPUTS,
    ] = Field(True, description="whether data.profiles.attributes, if there are any, are inputs")
    hein: Annotated[HybridExpert, TakesEffect("model.adapter", ("hein",))] = HybridExpert()
    moe: Annotated[MixtureOfExpertsSettings, TakesEffect("model.adapter", ("moe",))] = (
        MixtureOfExpertsSettings()
    )
    mlp: Annotated[SharedNetwork, TakesEffect("model.adapter", ("mlp",))] = SharedNetwork()
    pq: Annotated[ProductQuantization, TakesEffect("model.adapter", ("pq",))] = (
        ProductQuantization()
    )
    knowledge_match: Annotated[
        Match, TakesEffect("model.match", ("means", "ridge")), Role.INPUTS
    ] = Match()
    knowledge_prior: Annotated[Prior, TakesEffect("model.prior", (True,)), Role.INPUTS] = Prior()
