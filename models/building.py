"""Building a model from configuration, catalogue and knowledge."""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
import tensorflow as tf

from configs.model import Prior
from configs.scenario import Scenario
from models.adapters import ADAPTERS
from models.adapters.base import KnowledgeAdapter
from models.assembly import AugmentedUse, InputAssembly
from models.backbones import BACKBONES
from models.catalogue import Catalogue, CatalogueContents
from models.features import ItemEncoder
from models.inputs import InputPreparation
from models.item_ids import KnowledgeIds, TrainedIds
from models.knowledge import KnowledgeRecords, KnowledgeTable
from models.match import KnowledgeMatch, KnowledgeMatches
from models.prior import PRIOR_SUFFIX, FittedPrior, KnowledgePrior
from models.profiles import ProfileAttribute, ProfileEncoder, ProfileLookup
from models.ranking import RankingModel
from models.rerankers import RERANKERS
from models.reranking import RerankingModel
from models.retrieval import RETRIEVERS
from models.retrieving import RetrievalModel

_FROM_CONFIGURATION = frozenset({"self", "kwargs", "top_units", "dropout_rate"})
_KINDS: dict[object, tuple[str, str]] = {
    bool: ("true or false", "true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a word", "words"),
}


def own_options(backbone: type[tf.keras.layers.Layer]) -> dict[str, object]:
    """The options of a backbone beside `top_units` and `dropout_rate`, with their defaults."""
    parameters = inspect.signature(backbone.__init__).parameters
    return {
        name: parameter.default
        for name, parameter in parameters.items()
        if name not in _FROM_CONFIGURATION
    }


def checked_options(
    name: str, backbone: type[tf.keras.layers.Layer], options: Mapping[str, object]
) -> dict[str, object]:
    """Options from a configuration as arguments of the constructor.

    Values are checked against the annotations of the constructor: bool, int, float, str, a
    `Sequence` of these, and any of them or None. Other annotations are left to the constructor, as
    is whether a value makes sense.

    Args:
      name: registry name of the backbone.
      backbone: its class.
      options: `model.backbone_options`.

    Raises:
      ValueError: the backbone has no such option, or a value is of another kind than its
        annotation.
    """
    own = own_options(backbone)
    annotations = get_type_hints(backbone.__init__)
    checked = {}
    for key, value in options.items():
        if key not in own:
            there = f"there are {', '.join(own)}" if own else "it has none"
            close = difflib.get_close_matches(key, own, n=1)
            hint = f". Did you mean '{close[0]}'?" if close else ""
            raise ValueError(f"model.backbone_options: '{name}' has no '{key}'; {there}{hint}")
        annotation = annotations.get(key)
        try:
            checked[key] = _converted(value, annotation)
        except TypeError:
            raise ValueError(
                f"model.backbone_options.{key} must be {_described(annotation)}. "
                f"Received: {value!r}"
            ) from None
    return checked


def _converted(value: Any, kind: Any) -> object:
    """The value as its annotation has it; TypeError if it is of another kind."""
    if get_origin(kind) is types.UnionType:
        return None if value is None else _converted(value, _other_than_none(kind))
    if get_origin(kind) is Sequence:
        if not isinstance(value, list | tuple):
            raise TypeError
        return tuple(_converted(element, get_args(kind)[0]) for element in value)
    if kind is float and type(value) is int:
        return float(value)
    if kind in _KINDS and type(value) is not kind:
        raise TypeError
    return value


def _other_than_none(kind: Any) -> Any:
    """X of `X | None`."""
    return next(part for part in get_args(kind) if part is not types.NoneType)


def _described(kind: Any) -> str:
    if get_origin(kind) is types.UnionType:
        return f"{_described(_other_than_none(kind))} or null"
    if get_origin(kind) is Sequence:
        (element,) = get_args(kind)
        return f"a list of {_KINDS[element][1]}" if element in _KINDS else "a list"
    return _KINDS[kind][0]


REPLACED_IDS = "replace_id"
"""The adapter whose vectors take the place of item ids and are no fields of their own."""


@dataclass(frozen=True)
class ModelTables:
    """The data a model is built over.

    Attributes:
      catalogue: the items.
      knowledge: source -> knowledge records, for all of `Scenario.knowledge_sources`.
      profiles: user attributes that are inputs, by name.
      fitted_priors: source and options -> the prior, for all models that are built over these
        tables: it depends on nothing else, and takes longer than the rest of a model.
    """

    catalogue: CatalogueContents
    knowledge: Mapping[str, KnowledgeRecords]
    profiles: Mapping[str, ProfileAttribute] = field(default_factory=dict)
    fitted_priors: dict[tuple[str, Prior], FittedPrior] = field(default_factory=dict, compare=False)


AnyModel = RankingModel | RerankingModel | RetrievalModel

_MODELS: dict[str, type[AnyModel]] = {
    model.kind: model for model in (RankingModel, RerankingModel, RetrievalModel)
}
_REGISTRIES: dict[str, Mapping[str, type[tf.keras.layers.Layer]]] = {
    RankingModel.kind: BACKBONES,
    RerankingModel.kind: RERANKERS,
    RetrievalModel.kind: RETRIEVERS,
}


def example_kind(backbone: str) -> str:
    """The kind of examples that a model is trained on: "ctr", "rerank" or "retrieval".

    Raises:
      ValueError: there is no such model.
    """
    for kind, registry in _REGISTRIES.items():
        if backbone in registry:
            return kind
    names = sorted(name for registry in _REGISTRIES.values() for name in registry)
    close = difflib.get_close_matches(backbone, names, n=1)
    hint = f". Did you mean '{close[0]}'?" if close else ""
    raise ValueError(f"model.backbone '{backbone}' is unknown; there are {', '.join(names)}{hint}")


def build_model(scenario: Scenario, tables: ModelTables) -> AnyModel:
    """Builds the model that a scenario describes, with fresh weights.

    Raises:
      ValueError: the backbone or one of its options is unknown, or options do not go together.
    """
    model = _MODELS[example_kind(scenario.model.backbone)]
    model.check_scenario(scenario)
    return model.of_parts(_Parts(scenario, tables), scenario)


class _Parts:
    """The parts of one model."""

    def __init__(self, scenario: Scenario, tables: ModelTables):
        self._scenario = scenario
        self._options = scenario.model
        self._tables = tables
        self._profiles = tables.profiles if scenario.model.user_profile else {}
        self._catalogue = Catalogue(tables.catalogue)
        self._knowledge: dict[str, KnowledgeTable] = {}

    def backbone(self) -> Any:
        """A fresh backbone, re-ranker or pair of towers."""
        name = self._options.backbone
        backbone = _REGISTRIES[example_kind(name)][name]
        own = checked_options(name, backbone, self._options.backbone_options)
        return backbone(
            top_units=self._options.top_units, dropout_rate=self._options.dropout_rate, **own
        )

    def assembly(self) -> InputAssembly:
        """Embeddings and the place of augmented vectors."""
        options = self._options
        sources = () if self.adapter is None else self.adapter.sources
        matches = self.inputs.matches
        return InputAssembly(
            self._items(),
            self.inputs.num_match_features,
            self._scenario.data.liked_from,
            AugmentedUse(
                item_sources=[source for source in sources if self._entity(source) == "item"],
                user_sources=[source for source in sources if self._entity(source) == "user"],
                in_history=options.history_knowledge,
                factor_gate=options.factor_gate,
                zero_start=options.zero_start,
                alignment_weight=options.alignment_weight,
            ),
            ProfileEncoder(self._profiles, options.embedding_dimension) if self._profiles else None,
            num_match_sources=0 if matches is None else len(matches.sources),
            match_dropout_rate=options.knowledge_match.dropout_rate,
            hides_interactions=options.id_dropout_hides == "interactions",
            match_of_interactions=()
            if matches is None
            else [match.has_folds for match in matches.matches.values()],
        )

    @cached_property
    def adapter(self) -> KnowledgeAdapter | None:
        """The adapter, if its vectors are fields."""
        options = self._options
        if options.adapter in ("none", REPLACED_IDS):
            return None
        return ADAPTERS[options.adapter](options, self._adapter_tables)

    @cached_property
    def inputs(self) -> InputPreparation:
        """The preparation of raw features."""
        options = self._options
        towers = {} if self.adapter is None else self.adapter.tables
        return InputPreparation(
            self._catalogue,
            item_knowledge_rows={
                source: self._catalogue_rows(table)
                for source, table in towers.items()
                if self._entity(source) == "item"
            },
            user_knowledge_index={
                source: table.index
                for source, table in towers.items()
                if self._entity(source) == "user"
            },
            attention_history_length=self._scenario.attention_history_length,
            positive_rating=self._scenario.data.liked_from,
            history_knowledge=options.history_knowledge,
            matches=self._matches() if options.match != "none" else None,
            match_history_length=self._scenario.match_history_length,
            priors=[self._prior(source) for source in self._prior_sources],
            profile=ProfileLookup(self._profiles) if self._profiles else None,
            has_ratings=not self._scenario.data.is_implicit,
        )

    @cached_property
    def _adapter_tables(self) -> dict[str, KnowledgeTable]:
        return {source: self._table(source) for source in self._scenario.knowledge.sources}

    def _matches(self) -> KnowledgeMatches:
        options = self._options
        matches, item_rows = {}, {}
        general = options.knowledge_match
        link_options = general.for_links() if options.match == "ridge" else general
        for source in options.knowledge_match.sources:
            table, records = self._table(source), self._tables.knowledge[source]
            item_rows[source] = self._catalogue_rows(table)
            folds = getattr(records, "fold_vectors", None)
            matches[source] = KnowledgeMatch.from_vectors(
                options.match,
                table.vectors(np.arange(1, table.num_rows)).numpy(),
                link_options if self._has_links(source) else general,
                () if folds is None else folds,
            )
            match = matches[source]
            if self._scenario.training.xla and match.is_learned and match.has_folds:
                raise ValueError(
                    f"XLA cannot compile a learned match over source '{source}', which is made "
                    "from ratings; set training.xla or model.knowledge_match.learned to false"
                )
        return KnowledgeMatches(matches, item_rows)

    @property
    def _prior_sources(self) -> tuple[str, ...]:
        return self._options.knowledge_prior.sources if self._options.prior else ()

    def _prior(self, source: str) -> KnowledgePrior:
        options = self._options.knowledge_prior
        if self._has_links(source):
            options = options.for_links()
        fitted = self._tables.fitted_priors
        if (source, options) not in fitted:
            table = self._table(source)
            vectors = table.vectors(self._catalogue_rows(table)[1:]).numpy()
            fitted[source, options] = FittedPrior.from_ratings(
                self._tables.catalogue, vectors, options
            )
        return KnowledgePrior.of_fitted(fitted[source, options], name=f"{source}{PRIOR_SUFFIX}")

    def _items(self) -> ItemEncoder:
        options, catalogue = self._options, self._catalogue
        replaced = options.adapter == REPLACED_IDS
        if replaced:
            tables = self._adapter_tables
            rows = {source: self._catalogue_rows(table) for source, table in tables.items()}
            ids = KnowledgeIds(
                tables, rows, options.embedding_dimension, options.standardized_knowledge
            )
        else:
            ids = TrainedIds(
                catalogue.num_trained_items + 1,
                options.embedding_dimension,
                catalogue.embedding_rows,
            )
        return ItemEncoder(
            catalogue,
            ids,
            options.embedding_dimension,
            id_dropout_rate=options.id_dropout_rate,
            id_regularization=0.0 if replaced else self._scenario.training.embedding_regularization,
        )

    def _entity(self, source: str) -> str:
        return self._scenario.knowledge.answers[source].entity

    def _has_links(self, source: str) -> bool:
        return self._scenario.knowledge.answers[source].links is not None

    def _table(self, source: str) -> KnowledgeTable:
        if source not in self._knowledge:
            records = self._tables.knowledge[source]
            self._knowledge[source] = KnowledgeTable.from_records(source, records)
        return self._knowledge[source]

    def _catalogue_rows(self, table: KnowledgeTable) -> np.ndarray:
        """Knowledge row of every catalogue row; the unknown item's is 0."""
        item_ids = np.asarray(self._tables.catalogue.item_ids, dtype=object)
        return np.concatenate([[0], table.rows(item_ids).numpy()])
