from __future__ import annotations

import pytest
import tensorflow as tf

from models.building import build_model
from tests.runs import shared_store
from tests.scenarios import rich_scenario
from trainer.run_folder import create_weights
from trainer.training_input import Worker, training_examples


@pytest.mark.parametrize(
    "options",
    [
        {"model__match": "ridge", "model__user_profile": True},
        {"model__backbone": "prm"},
        {"model__backbone": "two_tower"},
    ],
)
def test_steps_need_neither_strings_nor_hash_tables(options: dict[str, object]) -> None:
    scenarios = [rich_scenario(training__input=name, **options) for name in ("memory", "stream")]
    model = build_model(scenarios[0], shared_store().tables(scenarios[0]))
    create_weights(model)
    for scenario in scenarios:
        examples = training_examples(scenario, model, shared_store(), Worker()).input
        batch = examples.epoch(0).element_spec
        assert tf.string not in {spec.dtype for spec in tf.nest.flatten(batch)}

    @tf.function
    def loss(batch: tuple[dict[str, tf.Tensor], tf.Tensor]) -> tf.Tensor:
        return model.compute_loss(batch, training=True)

    graph = loss.get_concrete_function(batch).graph.as_graph_def()
    functions = [graph.node, *(function.node_def for function in graph.library.function)]
    operations = {node.op for nodes in functions for node in nodes}
    assert "ResourceGather" in operations
    assert not [name for name in operations if "LookupTable" in name or "String" in name]
