"""Looking into trained models: what the gates choose, and how often items were trained on."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from configs.scenario import Scenario
from models.inputs import knowledge_row_key
from preprocessing.records.item_attributes import read_item_attributes
from preprocessing.records.layout import WorkDirectory
from trainer.experiment import ExperimentResult
from trainer.preparation import ExampleStore
from trainer.run_folder import RunFolder


def mean_gates(experiment: ExperimentResult) -> dict[str, dict[str, np.ndarray]]:
    """Mean gate weights over the distinct entities of the test part, first seed of each cell.

    Returns:
      "<backbone>/<arm>" -> source -> [experts], shared experts first; cells without HEIN are left
        out.
    """
    store = ExampleStore()
    gates: dict[str, dict[str, np.ndarray]] = {}
    for run in experiment.runs:
        cell = f"{run.backbone}/{run.knowledge}"
        if cell in gates:
            continue
        scenario, model = RunFolder(run.folder).load_model(store.tables)
        if model.adapter is None:
            continue
        features = store.examples(scenario, model, "test").features
        rows = {
            source: tf.constant(np.unique(features[knowledge_row_key(source)]))
            for source in model.adapter.sources
        }
        gates[cell] = {
            source: weights.numpy().mean(axis=0)
            for source, weights in model.adapter.gates(rows).items()
        }
    return gates


def training_counts(scenario: Scenario) -> dict[str, int]:
    """Number of training interactions of every item in the catalogue."""
    attributes = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    return dict(
        zip(attributes.item_ids, (int(count) for count in attributes.rating_count), strict=True)
    )
