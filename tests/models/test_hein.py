from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.hein import HybridExpertNetwork
from tests.models.builders import gradients_of, named_weights, randomise, relu, softmax
from tests.models.network_contract import all_but_last_slow

WIDTH = 7
Arrays = dict[str, np.ndarray]


def network(**options: Any) -> HybridExpertNetwork:
    defaults: dict[str, Any] = {
        "sources": ("user", "item"),
        "num_shared_experts": 2,
        "num_dedicated_experts": 3,
        "expert_units": (6, 4),
    }
    return HybridExpertNetwork(**(defaults | options))


def vectors(**batch_sizes: int) -> Arrays:
    random = np.random.default_rng(0)
    return {
        source: random.normal(size=[size, WIDTH]).astype(np.float32)
        for source, size in batch_sizes.items()
    }


def with_random_weights(layer: HybridExpertNetwork, inputs: Arrays) -> HybridExpertNetwork:
    """Builds the layer and gives biases values too, which are zero at first."""
    layer(inputs)
    randomise(layer.trainable_weights, seed=1)
    return layer


def numpy_experts(layer: HybridExpertNetwork, source: str, inputs: np.ndarray) -> np.ndarray:
    """Every expert on its own, layer by layer."""
    weights = named_weights(layer)
    outputs = []
    for pool, count in (
        ("shared", layer.num_shared_experts),
        (f"dedicated_{source}", layer.num_dedicated_experts),
    ):
        for expert in range(count):
            hidden = inputs.astype(np.float64)
            for index in range(len(layer.expert_units)):
                kernel = weights[f"{pool}_kernel_{index}"][expert]
                hidden = relu(hidden @ kernel + weights[f"{pool}_bias_{index}"][expert])
            outputs.append(hidden)
    return np.stack(outputs, axis=1)


def numpy_gates(layer: HybridExpertNetwork, source: str, inputs: np.ndarray) -> np.ndarray:
    weights = named_weights(layer)
    return softmax(inputs @ weights[f"gate_{source}_kernel"] + weights[f"gate_{source}_bias"])


@pytest.mark.parametrize(
    ("options", "batch_sizes"),
    [
        ({"sources": ("item",)}, {"item": 5}),
        ({"sources": ("user", "item")}, {"user": 4, "item": 9}),
        ({"sources": ("item", "liked", "disliked")}, {"item": 1, "liked": 3, "disliked": 2}),
        ({}, {"user": 1, "item": 1}),
        ({"expert_units": (6, 5, 4)}, {"user": 3, "item": 2}),
        ({"expert_units": (4,)}, {"user": 3, "item": 2}),
        ({"num_dedicated_experts": 0}, {"user": 3, "item": 2}),
        ({"num_shared_experts": 0}, {"user": 3, "item": 2}),
        ({"num_shared_experts": 1, "num_dedicated_experts": 0}, {"user": 3, "item": 2}),
    ],
)
def test_outputs_gates_and_experts_follow_the_formula(
    options: dict[str, Any], batch_sizes: dict[str, int]
) -> None:
    inputs = vectors(**batch_sizes)
    layer = with_random_weights(network(**options), inputs)
    outputs, gates, experts = layer(inputs), layer.gates(inputs), layer.experts(inputs)
    assert tuple(outputs) == layer.sources
    for source, batch in inputs.items():
        expected_experts = numpy_experts(layer, source, batch)
        expected_gates = numpy_gates(layer, source, batch)
        expected = sum(
            expected_gates[:, [expert]] * expected_experts[:, expert]
            for expert in range(layer.num_experts)
        )
        assert outputs[source].shape == (len(batch), layer.expert_units[-1])
        np.testing.assert_allclose(experts[source], expected_experts, atol=1e-5)
        np.testing.assert_allclose(gates[source], expected_gates, atol=1e-5)
        np.testing.assert_allclose(outputs[source], expected, atol=1e-5)
        np.testing.assert_allclose(np.sum(gates[source], axis=1), 1, atol=1e-6)


def test_published_size_follows_the_formula() -> None:
    layer = HybridExpertNetwork()
    random = np.random.default_rng(3)
    inputs = {name: random.normal(size=[3, 384]).astype(np.float32) for name in ("user", "item")}
    outputs = layer(inputs)
    for source, batch in inputs.items():
        expected = np.einsum(
            "be,beu->bu", numpy_gates(layer, source, batch), numpy_experts(layer, source, batch)
        )
        assert expected.shape == (3, 32)
        np.testing.assert_allclose(outputs[source], expected, atol=1e-5)


def test_an_empty_batch_gives_empty_outputs() -> None:
    inputs = vectors(user=0, item=2)
    outputs = network()(inputs)
    assert outputs["user"].shape == (0, 4)
    assert outputs["item"].shape == (2, 4)


def test_gates_and_experts_may_be_the_first_call() -> None:
    inputs = vectors(user=3, item=2)
    for method in ("gates", "experts"):
        layer = network()
        first = getattr(layer, method)(inputs)
        built_by_method = [weight.shape for weight in layer.trainable_weights]
        outputs = layer(inputs)
        assert [weight.shape for weight in layer.trainable_weights] == built_by_method
        np.testing.assert_array_equal(first["item"], getattr(layer, method)(inputs)["item"])
        assert outputs["item"].shape == (2, 4)


@pytest.mark.parametrize("built", [False, True])
def test_gates_and_experts_work_inside_a_graph(built: bool) -> None:
    inputs = {name: tf.constant(batch) for name, batch in vectors(user=3, item=2).items()}
    layer = network()
    if built:
        layer(inputs)

    @tf.function(autograph=False)
    def inside(batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        return layer.gates(batch), layer.experts(batch)

    gates, experts = inside(inputs)
    for source in layer.sources:
        np.testing.assert_allclose(gates[source], layer.gates(inputs)[source], atol=1e-6)
        np.testing.assert_allclose(experts[source], layer.experts(inputs)[source], atol=1e-6)


def test_graph_equals_eager() -> None:
    inputs = vectors(user=3, item=2)
    layer = with_random_weights(network(), inputs)
    in_graph = tf.function(layer, autograph=False)(inputs)
    for source in layer.sources:
        np.testing.assert_allclose(in_graph[source], layer(inputs)[source], atol=1e-6)


@pytest.mark.parametrize(
    "options",
    all_but_last_slow(
        [{"num_shared_experts": 0}, {"num_dedicated_experts": 0}, {"dropout_rate": 0.3}]
    ),
)
def test_a_functional_model_survives_both_file_formats(
    options: dict[str, Any], tmp_path: Path
) -> None:
    inputs = vectors(user=3, item=3)
    entries = {name: tf.keras.Input([WIDTH], name=name) for name in inputs}
    layer = network(**options)
    joined = tf.keras.layers.Concatenate()(list(layer(entries).values()))
    model = tf.keras.Model(entries, tf.keras.layers.Dense(1)(joined))
    randomise(model.trainable_weights, seed=2)
    expected = model(inputs)

    model.save(tmp_path / "model.keras")
    reloaded = tf.keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(reloaded(inputs), expected, atol=1e-6)

    model.save(tmp_path / "saved_model")
    np.testing.assert_allclose(
        tf.keras.models.load_model(tmp_path / "saved_model")(inputs), expected, atol=1e-6
    )
    served = tf.saved_model.load(str(tmp_path / "saved_model"))
    tensors = {name: tf.constant(batch) for name, batch in inputs.items()}
    (scores,) = served.signatures["serving_default"](**tensors).values()
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_an_export_inside_a_module_scores_alike(tmp_path: Path) -> None:
    inputs = vectors(user=3, item=2)
    module = tf.Module()
    module.network = layer = with_random_weights(network(), inputs)
    specification = tf.TensorSpec([None, WIDTH], tf.float32)
    module.score = tf.function(
        lambda user, item: layer({"user": user, "item": item}),
        input_signature=[specification, specification],
        autograph=False,
    )
    tf.saved_model.save(module, str(tmp_path))
    reloaded = tf.saved_model.load(str(tmp_path))
    outputs = reloaded.score(inputs["user"], inputs["item"])
    for source in layer.sources:
        np.testing.assert_allclose(outputs[source], layer(inputs)[source], atol=1e-6)


def test_configuration_makes_the_same_layer_again() -> None:
    layer = network(expert_units=(6, 5, 4), dropout_rate=0.25, name="hein")
    again = HybridExpertNetwork.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.name, again.sources, again.expert_units) == ("hein", ("user", "item"), (6, 5, 4))
    assert (again.num_shared_experts, again.num_dedicated_experts) == (2, 3)
    assert again.dropout_rate == 0.25
    assert tf.keras.utils.get_registered_name(HybridExpertNetwork) == "reki>HybridExpertNetwork"


def test_output_shape_is_known_before_the_call() -> None:
    shapes = network().compute_output_shape({"user": [None, WIDTH], "item": [8, WIDTH]})
    assert {name: shape.as_list() for name, shape in shapes.items()} == {
        "user": [None, 4],
        "item": [8, 4],
    }


def test_dropout_acts_in_training_only() -> None:
    inputs = vectors(user=3, item=200)
    layer = with_random_weights(network(dropout_rate=0.5), inputs)
    plain = network()
    with_random_weights(plain, inputs)
    np.testing.assert_array_equal(layer(inputs)["item"], plain(inputs)["item"])
    np.testing.assert_array_equal(layer(inputs, training=False)["item"], plain(inputs)["item"])
    dropped = layer(inputs, training=True)["item"].numpy()
    assert np.abs(dropped - plain(inputs)["item"]).max() > 0.1


def test_dropout_zeroes_the_expected_share_of_the_last_layer() -> None:
    # One expert with ones as weights: its output is zero only where dropout made it so.
    layer = network(
        sources=("item",),
        num_shared_experts=1,
        num_dedicated_experts=0,
        expert_units=(50,),
        dropout_rate=0.4,
    )
    ones = {"item": np.ones([400, WIDTH], np.float32)}
    layer(ones)
    for weight in layer.trainable_weights:
        weight.assign(tf.ones_like(weight))
    tf.keras.utils.set_random_seed(0)
    output = layer(ones, training=True)["item"].numpy()
    assert np.mean(output == 0) == pytest.approx(0.4, abs=0.02)
    np.testing.assert_allclose(output[output > 0], (WIDTH + 1) / 0.6, rtol=1e-5)


def test_initial_weights_have_the_published_spread() -> None:
    tf.keras.utils.set_random_seed(0)
    layer = HybridExpertNetwork(("user", "item"), 3, 4, (64, 32, 16))
    width = 100
    layer.build({"user": [None, width], "item": [None, width]})
    fans = {"0": (width, 64), "1": (64, 32), "2": (32, 16)}
    kernels = 0
    for name, value in named_weights(layer).items():
        if "bias" in name:
            assert not value.any()
            continue
        fan_in, fan_out = (width, 7) if name.startswith("gate") else fans[name[-1]]
        expected = np.sqrt(2 / (fan_in + fan_out))
        # A sample's deviation varies by 1 / sqrt(2 n) of itself; allowed is five times that.
        assert value.std() == pytest.approx(expected, rel=5 / np.sqrt(2 * value.size)), name
        # A truncated normal would end at two standard deviations.
        assert value.size < 2000 or np.abs(value).max() > 2.5 * expected, name
        kernels += 1
    assert kernels == 3 * 3 + 2


def test_every_trainable_weight_gets_a_gradient() -> None:
    inputs = vectors(user=20, item=30)
    layer = with_random_weights(network(expert_units=(6, 5, 4)), inputs)
    assert len(layer.trainable_weights) == 3 * 2 * 3 + 2 * 2

    def loss() -> tf.Tensor:
        outputs = layer(inputs, training=True)
        return tf.add_n([tf.reduce_sum(tf.square(output)) for output in outputs.values()])

    for weight, gradient in zip(
        layer.trainable_weights, gradients_of(loss, layer.trainable_weights), strict=True
    ):
        assert gradient is not None, weight.name
        assert np.abs(gradient).max() > 0, weight.name


def test_mixed_precision_stays_finite_and_close() -> None:
    inputs = vectors(user=3, item=4)
    layer = with_random_weights(network(dtype="mixed_float16"), inputs)
    exact = with_random_weights(network(), inputs)
    assert {weight.dtype for weight in layer.trainable_weights} == {tf.float32}
    for source, output in layer(inputs).items():
        assert output.dtype == tf.float16
        np.testing.assert_allclose(output, exact(inputs)[source], atol=0.02)
        np.testing.assert_allclose(np.sum(layer.gates(inputs)[source], axis=1), 1, atol=5e-3)
    training = layer({name: 10 * batch for name, batch in inputs.items()}, training=True)
    assert all(np.isfinite(output).all() for output in training.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ()}, r"at least one\. Received: sources=\(\)"),
        ({"sources": ("item", "item")}, r"distinct names.*\('item', 'item'\)"),
        (
            {"num_shared_experts": 0, "num_dedicated_experts": 0},
            "at least one expert.*num_shared_experts=0, num_dedicated_experts=0",
        ),
        ({"num_shared_experts": -1}, "at least one expert.*num_shared_experts=-1"),
        ({"expert_units": ()}, r"positive widths\. Received: expert_units=\(\)"),
        ({"expert_units": (8, 0)}, r"positive widths\. Received: expert_units=\(8, 0\)"),
        ({"dropout_rate": 1.0}, r"\[0, 1\)\. Received: dropout_rate=1.0"),
        ({"dropout_rate": -0.1}, r"\[0, 1\)\. Received: dropout_rate=-0.1"),
    ],
)
def test_impossible_shapes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network(**options)


def test_other_sources_are_refused() -> None:
    message = r"sources \['item', 'user'\]\. Received: \['item', 'news'\]"
    with pytest.raises(ValueError, match=message):
        network()(vectors(item=2, news=2))
    with pytest.raises(ValueError, match=r"Received: \['item'\]"):
        network().gates(vectors(item=2))
    built = network()
    built(vectors(user=2, item=2))
    with pytest.raises(ValueError, match=message):
        built(vectors(item=2, news=2))


def test_differing_or_unknown_widths_are_refused() -> None:
    inputs = {"user": np.ones([2, 5], np.float32), "item": np.ones([2, 6], np.float32)}
    with pytest.raises(ValueError, match="one known width.*'user': 5.*'item': 6"):
        network()(inputs)
    with pytest.raises(ValueError, match="one known width"):
        network().build({"user": [None, None], "item": [None, None]})


def test_training_in_bfloat16_is_close_and_inference_exact() -> None:
    drawn = np.random.default_rng(1).normal(size=[12, 16]).astype(np.float32)
    inputs = {"user": drawn[:5], "item": drawn[5:]}
    exact = HybridExpertNetwork(expert_units=(12, 4))
    fast = HybridExpertNetwork(expert_units=(12, 4), training_precision="bfloat16")
    for layer in (exact, fast):
        layer(inputs)
    fast.set_weights(exact.get_weights())

    def loss(layer: HybridExpertNetwork) -> tf.Tensor:
        return tf.add_n([tf.reduce_sum(x**2) for x in layer(inputs, training=True).values()])

    for source in inputs:
        np.testing.assert_array_equal(fast(inputs)[source], exact(inputs)[source])
        trained, expected = (layer(inputs, training=True)[source] for layer in (fast, exact))
        assert trained.dtype == tf.float32
        assert 0 < np.abs(trained - expected).max() < 0.03
    network_gradients = [
        gradients_of(functools.partial(loss, layer), layer.trainable_weights)
        for layer in (fast, exact)
    ]
    for fast_value, exact_value in zip(*network_gradients, strict=True):
        cosine = (fast_value * exact_value).sum() / np.sqrt(
            (fast_value**2).sum() * (exact_value**2).sum()
        )
        assert cosine > 0.99
    assert HybridExpertNetwork.from_config(fast.get_config()).training_precision == "bfloat16"
    with pytest.raises(ValueError, match="Received: training_precision='float8'"):
        HybridExpertNetwork(training_precision="float8")
