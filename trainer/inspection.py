"""Looking into trained models: what the gates choose, and how often items were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.scenario import Scenario
from models.adapters.source_network import GatedAdapter
from models.inputs import knowledge_row_key
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.provenance import as_written
from trainer.examples import ExampleStore, PreparedExamples
from trainer.experiments.results import ExperimentResult
from trainer.run_folder import RunFolder

_BATCH = 4096


@dataclass(frozen=True)
class GateWeights:
    """What the gates of one model choose, on average.

    Attributes:
      seed: the model's training seed.
      num_shared_experts: how many of the experts, the first ones, serve all sources.
      by_source: source -> [experts], mean weights; a source without any entity is absent.
    """

    seed: int
    num_shared_experts: int
    by_source: Mapping[str, np.ndarray]


def mean_gates(experiment: ExperimentResult) -> dict[str, GateWeights]:
    """Mean gate weights over the distinct entities of the test part that have knowledge.

    Returns:
      "<backbone>/<arm>" -> weights of its first seed; cells whose adapter has no gates are left
        out, and those where no entity of the test part has knowledge.
    """
    store = ExampleStore()
    gates: dict[str, GateWeights] = {}
    seen = set()
    for run in experiment.runs:
        cell = f"{run.backbone}/{run.knowledge}"
        if cell in seen:
            continue
        seen.add(cell)
        folder = RunFolder(run.folder)
        if folder.read_scenario().model.adapter == "none":
            continue
        scenario, model = folder.load_model(store.tables)
        gate_values = expert_gates(model, store.examples(scenario, model, "test"))
        if gate_values:
            shared = model.adapter.network.num_shared_experts
            gates[cell] = GateWeights(run.seed, shared, gate_values)
    return gates


def expert_gates(model: tfrs.models.Model, examples: PreparedExamples) -> dict[str, np.ndarray]:
    """Mean gate weights over the distinct entities of some examples that have knowledge.

    Returns:
      Source -> [experts]; sources without such an entity are absent, and all sources of an adapter
        that has no gates.
    """
    if not isinstance(model.adapter, GatedAdapter):
        return {}
    rows = {
        source: _rows_with_knowledge(examples.features[knowledge_row_key(source)])
        for source in model.adapter.sources
    }
    return {
        source: weights.numpy().mean(axis=0)
        for source, weights in model.adapter.gates(rows).items()
        if len(rows[source]) > 0
    }


def factor_weights(
    scenario: Scenario, model: tfrs.models.Model, examples: PreparedExamples
) -> dict[str, dict[str, float]]:
    """What the factor gates choose, mean over the distinct items and users of some examples.

    Returns:
      "item" or "user" -> source -> mean weight, the weights of an entity adding up to 1; empty
        without a factor gate (`model.factor_gate`), or where an entity has one source only.
    """
    batches = [model.factor_weights(batch) for batch in examples.batches(_BATCH)]
    entities = {"item": examples.features["item_row"], "user": examples.user_ids}
    weight_values = {}
    for entity in batches[0]:
        weights = np.concatenate([batch[entity].numpy() for batch in batches])
        ids = entities[entity]
        is_known = ids.ravel() != 0 if entity == "item" else np.ones(len(ids), bool)
        _, first = np.unique(ids.ravel()[is_known], return_index=True)
        means = weights.reshape(-1, weights.shape[-1])[is_known][first].mean(axis=0)
        weight_values[entity] = dict(
            zip(_sources_of(scenario, entity), means.tolist(), strict=True)
        )
    return weight_values


def training_counts(scenario: Scenario) -> dict[str, int]:
    """Training interactions, in the train part or the history before it, by catalogue item."""
    examples = WorkDirectory(scenario.work_dir).examples
    attributes = read_item_attributes(as_written(examples.item_attributes))
    return dict(
        zip(attributes.item_ids, (int(count) for count in attributes.rating_count), strict=True)
    )


def item_titles(scenario: Scenario) -> dict[str, str]:
    """Titles by item, of those that have one."""
    examples = WorkDirectory(scenario.work_dir).examples
    attributes = read_item_attributes(as_written(examples.item_attributes))
    titled = zip(attributes.item_ids, attributes.titles, strict=True)
    return {item: title for item, title in titled if title}


def _sources_of(scenario: Scenario, entity: str) -> list[str]:
    knowledge = scenario.knowledge
    return [source for source in knowledge.sources if knowledge.answers[source].entity == entity]


def _rows_with_knowledge(rows: np.ndarray) -> tf.Tensor:
    """Distinct rows but 0, which stands for missing knowledge."""
    distinct = np.unique(rows)
    return tf.constant(distinct[distinct != 0])
