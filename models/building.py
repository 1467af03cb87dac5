"""Building a ranking model from configuration, catalogue and knowledge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from configs.scenario import Scenario
from models.adapter import HybridExpertAdapter
from models.backbones import BACKBONES
from models.catalogue import Catalogue, CatalogueContents
from models.features import ItemEncoder
from models.hein import HybridExpertNetwork
from models.inputs import InputPreparation
from models.knowledge import KnowledgeRecords, KnowledgeTable
from models.match import KnowledgeMatch, match_table
from models.ranking import RankingModel, Scorer


@dataclass(frozen=True)
class ModelTables:
    """The data a model is built over.

    Attributes:
      catalogue: the items.
      knowledge: source -> knowledge records, for all sources of the scenario and for its match
        source.
    """

    catalogue: CatalogueContents
    knowledge: Mapping[str, KnowledgeRecords]


def build_ranking_model(scenario: Scenario, tables: ModelTables) -> RankingModel:
    """Builds the model that a scenario describes, with fresh weights.

    Raises:
      ValueError: the backbone is unknown, or the widths of augmented vectors and embeddings differ.
    """
    options = scenario.model
    if options.backbone not in BACKBONES:
        raise ValueError(
            f"model.backbone '{options.backbone}' is unknown; "
            f"there are {', '.join(sorted(BACKBONES))}"
        )
    catalogue = Catalogue(tables.catalogue)
    adapter = _build_adapter(scenario, tables) if options.adapter == "hein" else None
    inputs = _build_inputs(scenario, tables, catalogue, adapter)
    items = ItemEncoder(
        catalogue,
        options.embedding_dimension,
        id_dropout_rate=options.id_dropout_rate,
        id_regularization=scenario.training.embedding_regularization,
    )
    backbone = BACKBONES[options.backbone](
        top_units=options.top_units, dropout_rate=options.dropout_rate
    )
    scorer = Scorer(items, backbone, inputs.num_match_features, scenario.data.liked_from)
    return RankingModel(inputs, scorer, adapter)


def _build_adapter(scenario: Scenario, tables: ModelTables) -> HybridExpertAdapter:
    options = scenario.model.hein
    if options.expert_units[-1] != scenario.model.embedding_dimension:
        raise ValueError(
            "an augmented vector is one more field, so the last of model.hein.expert_units "
            f"({options.expert_units[-1]}) must equal model.embedding_dimension "
            f"({scenario.model.embedding_dimension})"
        )
    sources = scenario.knowledge.sources
    network = HybridExpertNetwork(
        sources=sources,
        num_shared_experts=options.num_shared_experts,
        num_dedicated_experts=options.num_dedicated_experts,
        expert_units=options.expert_units,
        dropout_rate=options.dropout_rate,
    )
    knowledge_tables = {
        source: KnowledgeTable.from_records(source, tables.knowledge[source]) for source in sources
    }
    widths = {source: table.dimension for source, table in knowledge_tables.items()}
    if len(set(widths.values())) > 1:
        raise ValueError(
            "the sources of one HEIN need vectors of one width, but there are "
            + ", ".join(f"{source}: {width}" for source, width in widths.items())
            + "; encode them with one encoder, and with a knowledge.encoder.dimension that the "
            "smallest source can fill"
        )
    return HybridExpertAdapter(
        knowledge_tables, network, knowledge_dropout_rate=scenario.model.knowledge_dropout_rate
    )


def _build_inputs(
    scenario: Scenario,
    tables: ModelTables,
    catalogue: Catalogue,
    adapter: HybridExpertAdapter | None,
) -> InputPreparation:
    options = scenario.model
    towers = {} if adapter is None else adapter.tables
    entities = {source: scenario.knowledge.answers[source].entity for source in towers}
    item_ids = tables.catalogue.item_ids
    match = match_rows = None
    if options.match != "none":
        source = options.knowledge_match.source
        table = towers.get(source) or KnowledgeTable.from_records(source, tables.knowledge[source])
        vectors = table.vectors(np.arange(1, table.num_rows)).numpy()
        match = KnowledgeMatch(
            options.match, match_table(options.match, vectors, options.knowledge_match.dimension)
        )
        match_rows = _catalogue_rows(table, item_ids)
    return InputPreparation(
        catalogue,
        item_knowledge_rows={
            source: _catalogue_rows(table, item_ids)
            for source, table in towers.items()
            if entities[source] == "item"
        },
        user_knowledge_index={
            source: table.index for source, table in towers.items() if entities[source] == "user"
        },
        attention_history_length=options.attention_history_length,
        positive_rating=scenario.data.liked_from,
        match=match,
        match_rows=match_rows,
        match_history_length=options.knowledge_match.history_length,
    )


def _catalogue_rows(table: KnowledgeTable, item_ids: object) -> np.ndarray:
    """Knowledge row of every catalogue row; the unknown item's is 0."""
    return np.concatenate([[0], table.rows(np.asarray(item_ids, dtype=str)).numpy()])
