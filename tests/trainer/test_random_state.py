from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import tensorflow as tf

from models.backbones import BACKBONES
from models.building import build_model
from tests.runs import shared_store
from tests.scenarios import rich_scenario
from trainer.run_folder import create_weights
from trainer.training_checkpoints import random_states, restorable_random_numbers
from trainer.training_input import MemoryInput

RANDOM = {
    "model__dropout_rate": 0.3,
    "model__id_dropout_rate": 0.3,
    "model__knowledge_dropout_rate": 0.3,
}


def configurations() -> Iterator[object]:
    """Every kind of model and adapter; the other backbones are slow tests."""
    yield "prm", {}
    yield "two_tower", {}
    hidden = {"model__hein__dropout_rate": 0.3, "model__knowledge_match__dropout_rate": 0.5}
    yield "din", {"model__match": "ridge", **hidden}
    others = [name for name in BACKBONES if name != "din"]
    for name in [*others, "dlcm", "setrank", "mir"]:
        yield pytest.param(name, {}, marks=pytest.mark.slow, id=name)
    adapters = {
        "mlp": {"model__mlp__units": [8], "model__mlp__dropout_rate": 0.3},
        "moe": {"model__moe__expert_units": [8], "model__moe__dropout_rate": 0.3},
        "pq": {"model__pq__num_codebooks": 3, "model__pq__codebook_size": 4},
        "replace_id": {},
    }
    for adapter, options in adapters.items():
        changes = {"model__adapter": adapter, "knowledge__sources": ["item"], **options}
        yield pytest.param("din", changes, marks=pytest.mark.slow, id=f"din-{adapter}")


@pytest.mark.parametrize(("backbone", "changes"), configurations())
def test_whatever_a_training_step_draws_follows_from_the_states(
    backbone: str, changes: dict[str, object]
) -> None:
    scenario = rich_scenario(model__backbone=backbone, **RANDOM, **changes)
    with restorable_random_numbers():
        model = build_model(scenario, shared_store().tables(scenario))
        create_weights(model)
    states = random_states(model)
    assert len({id(state) for state in states}) == len(states) >= 2
    examples = shared_store().examples(scenario, model, "train")
    batch = next(iter(MemoryInput(examples, 64, seed=1).epoch(0)))

    @tf.function
    def loss() -> tf.Tensor:
        return model.compute_loss(batch, training=True)

    before = [state.numpy() for state in states]
    first, second = float(loss()), float(loss())
    assert first != second
    for state, value in zip(states, before, strict=True):
        state.assign(value)
    assert float(loss()) == first
    # None of the states came into being after they were asked for.
    assert len(random_states(model)) == len(states)


def test_layers_made_outside_have_no_state() -> None:
    with restorable_random_numbers():
        inside = tf.keras.Sequential([tf.keras.layers.Dropout(0.5)])
        inside(tf.ones([1, 2]))
    outside = tf.keras.Sequential([tf.keras.layers.Dropout(0.5)])
    outside(tf.ones([1, 2]))
    assert (len(random_states(inside)), len(random_states(outside))) == (1, 0)


def test_the_setting_before_comes_back_also_after_an_error() -> None:
    backend = tf.keras.backend.experimental
    assert not backend.is_tf_random_generator_enabled()
    with pytest.raises(KeyError), restorable_random_numbers():
        assert backend.is_tf_random_generator_enabled()
        raise KeyError
    assert not backend.is_tf_random_generator_enabled()
    with restorable_random_numbers():
        with restorable_random_numbers():
            pass
        assert backend.is_tf_random_generator_enabled()


def test_equal_seeds_make_equal_states() -> None:
    made = []
    for seed in (1, 1, 2):
        tf.keras.utils.set_random_seed(seed)
        with restorable_random_numbers():
            model = tf.keras.Sequential([tf.keras.layers.Dropout(0.5) for _ in range(2)])
            model(tf.ones([1, 2]))
        made.append([state.numpy() for state in random_states(model)])
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    assert not np.array_equal(*made[0])
