from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from models.layers.top_network import RandomNumbers, top_network
from tests.models.builders import randomise, relu
from trainer.training_checkpoints import restorable_random_numbers


def restorable() -> RandomNumbers:
    with restorable_random_numbers():
        return RandomNumbers()


class TestRandomNumbers:
    @pytest.mark.parametrize("make", [RandomNumbers, restorable])
    def test_numbers_are_uniform_and_new_in_every_call(self, make) -> None:
        tf.keras.utils.set_random_seed(1)
        numbers = make()
        first, second = numbers.uniform([200, 50]), numbers.uniform([200, 50])
        assert first.dtype == tf.float32
        # 10,000 draws: the mean is 0.5 with a standard error of 0.29 / 100.
        assert np.mean(first) == pytest.approx(0.5, abs=0.015)
        assert np.std(first) == pytest.approx(12**-0.5, abs=0.015)
        assert np.min(first) >= 0 and np.max(first) < 1
        assert not np.array_equal(first, second)

    @pytest.mark.parametrize("make", [RandomNumbers, restorable])
    def test_a_graph_draws_new_numbers_in_every_run(self, make) -> None:
        numbers = make()
        draw = tf.function(lambda rows: numbers.uniform([tf.shape(rows)[0], 3]), autograph=False)
        first, second = draw(tf.zeros([4])), draw(tf.zeros([4]))
        assert first.shape == (4, 3)
        assert not np.array_equal(first, second)

    def test_a_state_that_is_put_back_repeats_what_followed(self) -> None:
        numbers = restorable()
        # There from the start: a checkpoint is restored before anything is drawn.
        state = numbers._random_generator._generator.state
        before = state.numpy()
        first = numbers.uniform([5])
        assert not np.array_equal(state, before)
        state.assign(before)
        np.testing.assert_array_equal(numbers.uniform([5]), first)

    @pytest.mark.parametrize("make", [RandomNumbers, restorable])
    def test_equal_seeds_draw_equal_numbers(self, make) -> None:
        drawn = []
        for seed in (1, 1, 2):
            tf.keras.utils.set_random_seed(seed)
            drawn.append(make().uniform([6]).numpy())
        np.testing.assert_array_equal(drawn[0], drawn[1])
        assert not np.array_equal(drawn[0], drawn[2])

    def test_two_layers_draw_other_numbers(self) -> None:
        tf.keras.utils.set_random_seed(1)
        assert not np.array_equal(restorable().uniform([6]), restorable().uniform([6]))

    def test_the_state_is_no_weight_and_numbers_stay_exact_in_mixed_precision(self) -> None:
        with precision("mixed_bfloat16"):
            numbers = restorable()
        assert numbers.weights == []
        assert numbers.uniform([3]).dtype == tf.float32

    def test_a_configuration_makes_an_equal_layer(self) -> None:
        numbers = RandomNumbers(name="draws")
        assert RandomNumbers.from_config(numbers.get_config()).get_config() == numbers.get_config()


INPUTS = np.random.default_rng(0).normal(size=[5, 4]).astype(np.float32)


class TestTopNetwork:
    @pytest.mark.parametrize("count", [1, 5])
    def test_layers_follow_each_other_with_relu(self, count: int) -> None:
        network = top_network((6, 3), dropout_rate=0.0)
        network(INPUTS)
        randomise(network.trainable_weights, seed=0)
        first_kernel, first_bias, second_kernel, second_bias = network.get_weights()
        hidden = relu(INPUTS[:count] @ first_kernel + first_bias)
        expected = relu(hidden @ second_kernel + second_bias)
        np.testing.assert_allclose(network(INPUTS[:count]), expected, atol=1e-5)
        np.testing.assert_array_equal(network(INPUTS, training=True), network(INPUTS))

    def test_dropout_acts_in_training_only(self) -> None:
        network = top_network((500,), dropout_rate=0.2)
        ones = np.ones([20, 4], np.float32)
        network(ones)
        for weight in network.trainable_weights:
            weight.assign(tf.ones_like(weight))
        np.testing.assert_array_equal(network(ones), np.full([20, 500], 5.0))
        tf.keras.utils.set_random_seed(0)
        output = network(ones, training=True).numpy()
        assert np.mean(output == 0) == pytest.approx(0.2, abs=0.015)
        np.testing.assert_allclose(output[output > 0], 5 / 0.8)

    def test_the_name_is_given(self) -> None:
        assert top_network((2,), 0.0, name="deep").name == "deep"
        assert top_network((2,), 0.0).name == "top_network"
