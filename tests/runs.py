"""Run folders with random weights over the tiny scenario, which cost no training."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.contract_versions import contract_version
from configs.scenario import Scenario
from models.building import build_model
from preprocessing.records.contract import REQUEST_FEATURES
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from tests.models.builders import randomise
from tests.scenarios import rich_scenario, tiny_scenario
from trainer.examples import ExampleStore
from trainer.run_folder import RunFolder, RunMetrics, create_weights
from trainer.tables import data_fingerprint, read_model_tables

ARMS: dict[str, dict[str, object]] = {
    "none": {"model__adapter": "none"},
    "hein": {"model__adapter": "hein"},
    "ridge": {"model__match": "ridge", "knowledge__sources": ["item"]},
    "means": {"model__match": "means", "knowledge__sources": ["item"]},
}
"""Arm -> what it changes; "ridge" and "means" are HEIN on items plus knowledge match."""

# The cross layers multiply: larger weights would make every score 0 or 1.
_WEIGHT_SCALES = {"dcnv2": 0.12}


@dataclass(frozen=True)
class WrittenRun:
    """A run folder and the model that was written into it."""

    scenario: Scenario
    folder: RunFolder
    model: tfrs.models.Model


@functools.cache
def shared_store() -> ExampleStore:
    return ExampleStore()


@functools.cache
def written_run(backbone: str = "din", arm: str = "hein", seed: int = 1) -> WrittenRun:
    """A finished run whose weights are all random, made once per process."""
    name = f"random_{backbone}_{arm}_{seed}"
    folder = Path(tiny_scenario().work_dir) / "runs" / name
    scenario = tiny_scenario(model__backbone=backbone, run_dir=str(folder), **ARMS[arm])
    return write_run(scenario, seed)


@functools.cache
def rich_run(backbone: str, tasks: bool = False) -> WrittenRun:
    """A finished run with random weights of any kind of model, with user profiles."""
    folder = Path(rich_scenario().work_dir) / "runs" / f"random_{backbone}_{tasks}"
    scenario = rich_scenario(
        model__backbone=backbone,
        model__tasks={"loved": 0.5} if tasks else {},
        run_dir=str(folder),
    )
    return write_run(scenario)


def write_run(scenario: Scenario, seed: int = 1) -> WrittenRun:
    """Writes the scenario's run folder, `run_dir`, with random weights."""
    model = random_model(scenario, seed)
    folder = RunFolder(str(scenario.run_dir))
    folder.write(scenario, model, synthetic_metrics(scenario), [{"epoch": 1, "train_loss": 0.5}])
    return WrittenRun(scenario, folder, model)


def random_model(scenario: Scenario, seed: int = 1) -> tfrs.models.Model:
    """The scenario's model; no weight or moving statistic keeps its initial value."""
    model = build_model(scenario, read_model_tables(scenario))
    create_weights(model)
    randomise(model.trainable_weights, seed, _WEIGHT_SCALES.get(scenario.model.backbone, 0.3))
    random = np.random.default_rng(seed)
    for layer in model.submodules:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.moving_mean.assign(random.normal(size=layer.moving_mean.shape))
            layer.moving_variance.assign(random.uniform(0.5, 2, layer.moving_variance.shape))
    width = model.inputs_preparation.num_match_features
    model.set_match_statistics(
        tf.constant(random.normal(size=width), tf.float32),
        tf.constant(random.uniform(0.5, 2, width), tf.float32),
    )
    return model


def synthetic_metrics(scenario: Scenario) -> RunMetrics:
    return RunMetrics(
        run=str(scenario.run_dir),
        validation={"auc": 0.75, "logloss": 0.5, "gauc": 0.7, "n": 10},
        epochs=1,
        selection_metric="auc",
        best_epoch=1,
        train_seconds=1.5,
        train_samples=20,
        trainable_weights=30,
        fingerprint=data_fingerprint(scenario),
        code_version=contract_version("training"),
    )


def raw_requests(scenario: Scenario, part: str = "test") -> dict[str, tf.Tensor]:
    """All samples of a part as requests: raw ids and numbers, histories padded at the end."""
    files = WorkDirectory(scenario.work_dir).examples.shards(part)
    (batch,) = example_dataset(files, 4096)
    return {feature.name: batch[feature.name] for feature in REQUEST_FEATURES}
