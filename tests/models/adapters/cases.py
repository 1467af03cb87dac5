"""Small adapters of every kind, and what is asked of a network over sources."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from configs.scenario import Model
from models.adapters import ADAPTERS
from models.adapters.base import KnowledgeAdapter
from models.knowledge import KnowledgeTable
from tests.models.builders import knowledge_records, randomise

WIDTH = 3
DIMENSION = 5
# Rows of the tables, row 0 among them.
ROWS = {"item": 12, "user": 5}
Arrays = dict[str, np.ndarray]


def tables(**dimensions: int) -> dict[str, KnowledgeTable]:
    """Tables of random vectors, "item" and "user" of one dimension if not said otherwise."""
    return {
        source: KnowledgeTable.from_records(
            source,
            knowledge_records(
                [f"{source}{i}" for i in range(rows - 1)], dimensions.get(source, DIMENSION), rows
            ),
        )
        for source, rows in ROWS.items()
    }


def table_of(vectors: np.ndarray, source: str = "item") -> KnowledgeTable:
    """A table whose row i + 1 is row i of an array."""
    return KnowledgeTable(source, [str(i) for i in range(len(vectors))], vectors)


def options(**given: Any) -> Model:
    """A model section of small adapters; `given` replaces its keys."""
    return Model.model_validate(
        {
            "embedding_dimension": WIDTH,
            "knowledge_dropout_rate": 0.0,
            "hein": {"num_shared_experts": 1, "num_dedicated_experts": 2, "expert_units": (6, 3)},
            "moe": {"num_experts": 4, "expert_units": (6, 3)},
            "mlp": {"units": (6, 3)},
            "pq": {"num_codebooks": 2, "codebook_size": 4},
        }
        | given
    )


def adapter(name: str, **given: Any) -> KnowledgeAdapter:
    """A built adapter over `tables()` whose weights and defaults are random."""
    layer = ADAPTERS[name](options(**given), tables())
    layer(rows_of([1], [1]))
    randomise(layer.trainable_weights, seed=0)
    return layer


@functools.cache
def shared_adapter(name: str, standardized: bool = False) -> KnowledgeAdapter:
    """An adapter that every test leaves as it is."""
    return adapter(name, standardized_knowledge=standardized)


def rows_of(item: Any, user: Any) -> dict[str, tf.Tensor]:
    return {"item": tf.constant(item, tf.int32), "user": tf.constant(user, tf.int32)}


def default_vector(layer: KnowledgeAdapter, source: str) -> np.ndarray:
    (weight,) = (w for w in layer.trainable_weights if f"default_{source}" in w.name)
    return weight.numpy()


def stored_vectors(table: KnowledgeTable) -> np.ndarray:
    """Vectors of all rows but row 0, as the table keeps them, in float64."""
    return table.vectors(np.arange(1, table.num_rows)).numpy().astype(np.float64)


def source_vectors(seed: int = 0, **shapes: tuple[int, int]) -> Arrays:
    """Random inputs of a network: source -> [n, dimension]."""
    random = np.random.default_rng(seed)
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def assert_network_survives_saving(
    layer: tf.keras.layers.Layer, inputs: Arrays, folder: Path
) -> None:
    """A functional model with the network gives the same from both file formats."""
    entries = {name: tf.keras.Input(batch.shape[1:], name=name) for name, batch in inputs.items()}
    outputs = layer(entries)
    model = tf.keras.Model(entries, [outputs[source] for source in layer.sources])
    randomise(model.trainable_weights, seed=2)
    expected = model(inputs)
    model.save(folder / "model.keras")
    model.save(folder / "saved_model")
    for name in ("model.keras", "saved_model"):
        again = tf.keras.models.load_model(folder / name)
        for actual, wanted in zip(again(inputs), expected, strict=True):
            np.testing.assert_allclose(actual, wanted, atol=1e-6)


def assert_network_learns(layer: tf.keras.layers.Layer, inputs: Arrays) -> None:
    """Every trainable weight has a gradient other than zero."""
    with tf.GradientTape() as tape:
        outputs = layer(inputs, training=True)
        loss = tf.add_n([tf.reduce_sum(tf.square(vectors)) for vectors in outputs.values()])
    weights = layer.trainable_weights
    assert weights
    for weight, gradient in zip(weights, tape.gradient(loss, weights), strict=True):
        assert gradient is not None and np.abs(gradient).max() > 1e-6, weight.name
