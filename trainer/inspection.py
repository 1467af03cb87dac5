"""Looking into trained models: what the gates choose, and how often items were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from configs.scenario import Scenario
from models.inputs import knowledge_row_key
from preprocessing.records.item_attributes import read_item_attributes
from preprocessing.records.layout import WorkDirectory
from trainer.experiment import ExperimentResult
from trainer.preparation import ExampleStore
from trainer.run_folder import RunFolder


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
      "<backbone>/<arm>" -> weights of its first seed; cells without HEIN are left out, and those
        where no entity of the test part has knowledge.
    """
    store = ExampleStore()
    gates: dict[str, GateWeights] = {}
    seen = set()
    for run in experiment.runs:
        cell = f"{run.backbone}/{run.knowledge}"
        if cell in seen:
            continue
        seen.add(cell)
        scenario, model = RunFolder(run.folder).load_model(store.tables)
        if model.adapter is None:
            continue
        features = store.examples(scenario, model, "test").features
        rows = {
            source: _rows_with_knowledge(features[knowledge_row_key(source)])
            for source in model.adapter.sources
        }
        by_source = {
            source: weights.numpy().mean(axis=0)
            for source, weights in model.adapter.gates(rows).items()
            if len(rows[source]) > 0
        }
        if by_source:
            gates[cell] = GateWeights(run.seed, scenario.model.hein.num_shared_experts, by_source)
    return gates


def training_counts(scenario: Scenario) -> dict[str, int]:
    """Training interactions, in the train part or the history before it, by catalogue item."""
    attributes = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    return dict(
        zip(attributes.item_ids, (int(count) for count in attributes.rating_count), strict=True)
    )


def _rows_with_knowledge(rows: np.ndarray) -> tf.Tensor:
    """Distinct rows but 0, which stands for missing knowledge."""
    distinct = np.unique(rows)
    return tf.constant(distinct[distinct != 0])
