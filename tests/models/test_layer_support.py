from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models import layer_support as checks
from models.backbones import BACKBONES
from models.building import own_options
from models.layer_support import ConfiguredLayer, precision, published_initial_values
from models.layers.attention import FieldSelfAttention
from models.layers.interaction import BilinearInteraction, FieldGraph
from models.layers.sequence import AttentionGRU
from models.rerankers import RERANKERS
from models.retrieval import RETRIEVERS
from tests.models.backbones.inputs import backbone_inputs
from tests.models.builders import named_weights, small_model
from tests.models.rerankers.inputs import list_inputs
from tests.models.retrieval.inputs import item_inputs, user_inputs


class TestOptionChecks:
    @pytest.mark.parametrize(
        ("check", "right", "wrong"),
        [
            (checks.positive_count, [1, 7], [0, -1, 1.0, "1", True, None]),
            (checks.not_negative_count, [0, 7], [-1, 0.0, "0", False]),
            (checks.positive, [1e-9, 2], [0, -0.5, math.nan, math.inf, "1", True]),
            (checks.not_negative, [0, 0.5], [-1e-9, math.nan, math.inf, "1", False]),
            (
                checks.positive_widths,
                [[], (1,), [3, 2]],
                [[0], (2, -1), ["a", "b"], [1.5], 3, "ab"],
            ),
            (checks.at_least_one_width, [(1,), [3, 2]], [[], (), [0], ["a"], 3]),
        ],
    )
    def test_what_a_check_takes_and_refuses(
        self, check: Any, right: list[Any], wrong: list[Any]
    ) -> None:
        for value in right:
            check(width=value)
        for value in wrong:
            with pytest.raises(ValueError, match=r"^width must .*\. Received: width=") as caught:
                check(width=value)
            assert str(caught.value).endswith(f"width={value!r}")

    def test_every_one_of_several_options_is_checked(self) -> None:
        with pytest.raises(ValueError, match=r"^second must .*Received: second=0$"):
            checks.positive_count(first=1, second=0, third=2)

    def test_a_word_must_be_known(self) -> None:
        checks.one_of(("inner", "outer"), product="outer")
        with pytest.raises(ValueError) as caught:
            checks.one_of(("inner", "outer"), product="cross")
        assert (
            str(caught.value)
            == "product must be one of ('inner', 'outer'). Received: product='cross'"
        )

    @pytest.mark.parametrize("heads", [0, -2, 1.0])
    def test_heads_are_a_positive_count(self, heads: Any) -> None:
        with pytest.raises(ValueError, match=f"^num_heads must .*Received: num_heads={heads}$"):
            checks.dividing_heads(heads, units=4)

    def test_heads_must_divide_every_width(self) -> None:
        checks.dividing_heads(2, first=6, second=4)
        message = (
            "^num_heads must divide first and second. Received: num_heads=3, first=6, second=4$"
        )
        with pytest.raises(ValueError, match=message):
            checks.dividing_heads(3, first=6, second=4)

    def test_shares_are_below_one(self) -> None:
        checks.share_below_one(dropout_rate=0, rate=0.99)
        for rate in (-0.1, 1.0, math.nan, "half"):
            with pytest.raises(
                ValueError, match=r"^dropout_rate must be in \[0, 1\). Received: drop"
            ):
                checks.share_below_one(dropout_rate=rate)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("name", "backbone"), (BACKBONES | RERANKERS | RETRIEVERS).items(), ids=str
    )
    def test_every_backbone_keeps_its_top_network(self, name: str, backbone: Any) -> None:
        layer = backbone(top_units=[3, 2], dropout_rate=0.25)
        assert (layer.top_units, layer.dropout_rate) == ((3, 2), 0.25)
        config = layer.get_config()
        assert (config["top_units"], config["dropout_rate"]) == ([3, 2], 0.25)
        assert own_options(backbone).keys() < config.keys()

    def test_a_configured_layer_is_made_again_from_its_own_and_inherited_arguments(self) -> None:
        class Parent(ConfiguredLayer):
            def __init__(self, widths: tuple[int, ...], **kwargs: object) -> None:
                super().__init__(**kwargs)
                self.widths = widths

        class Child(Parent):
            pass

        config = Child((3, 2), name="child").get_config()
        assert (config["name"], config["widths"]) == ("child", [3, 2])
        assert Child.from_config(config).get_config() == config


class TestPrecision:
    @pytest.mark.parametrize(
        ("policy", "dtype"),
        [
            ("float32", tf.float32),
            ("mixed_bfloat16", tf.bfloat16),
            ("mixed_float16", tf.float16),
        ],
    )
    def test_layers_made_inside_compute_as_the_policy_says(
        self, policy: str, dtype: tf.DType
    ) -> None:
        with precision(policy):
            inside = tf.keras.layers.Dense(1)
        outside = tf.keras.layers.Dense(1)
        assert inside(tf.ones([1, 2])).dtype == dtype
        assert {weight.dtype for weight in inside.weights} == {tf.float32}
        assert outside(tf.ones([1, 2])).dtype == tf.float32

    def test_the_policy_before_comes_back_also_after_an_error(self) -> None:
        with precision("mixed_bfloat16"):
            with pytest.raises(KeyError), precision("float32"):
                raise KeyError
            assert tf.keras.mixed_precision.global_policy().name == "mixed_bfloat16"
        assert tf.keras.mixed_precision.global_policy().name == "float32"

    def test_an_unknown_policy_changes_nothing(self) -> None:
        with pytest.raises(ValueError, match="float12"), precision("mixed_float12"):
            pass
        assert tf.keras.mixed_precision.global_policy().name == "float32"


def built(layer: tf.keras.layers.Layer, *inputs: tf.Tensor) -> tf.keras.layers.Layer:
    layer(inputs[0] if len(inputs) == 1 else inputs)
    return layer


STEPS = (tf.zeros([1, 2, 90]), tf.ones([1, 2], tf.bool), tf.zeros([1, 2]))
FIELDS = tf.zeros([1, 4, 60])
# Layer, name of a kernel that holds several matrices, their number, and fans of the published one.
FUSED: dict[str, tuple[Callable[[], tf.keras.layers.Layer], str, int, tuple[int, int]]] = {
    "autoint": (lambda: built(FieldSelfAttention(2, 25), FIELDS), "kernel", 4, (60, 50)),
    "without residual": (
        lambda: built(FieldSelfAttention(1, 80, residual=False), FIELDS),
        "kernel",
        3,
        (60, 80),
    ),
    "gru": (lambda: built(AttentionGRU(70, "gru"), *STEPS[:2]), "kernel", 3, (90, 70)),
    "augru": (lambda: built(AttentionGRU(70, "augru"), *STEPS), "kernel", 3, (90, 70)),
    "agru": (lambda: built(AttentionGRU(70, "agru"), *STEPS), "kernel", 2, (90, 70)),
    "edges": (lambda: built(FieldGraph(), tf.zeros([1, 3, 1000])), "edge_kernel", 2, (2000, 1)),
    "graph's gru": (lambda: built(FieldGraph(), FIELDS), "kernel", 3, (60, 60)),
    "field each": (
        lambda: built(BilinearInteraction("field_each"), FIELDS),
        "pairs_0_kernel",
        1,
        (60, 60),
    ),
    "pairs": (
        lambda: built(BilinearInteraction("field_interaction"), FIELDS),
        "pairs_0_kernel",
        3,
        (60, 60),
    ),
}
# Weights of rank 2 that are no dense matrix and no embedding.
OTHERS = {"gain", "bias", "points", "recurrent_kernel"}
WITH_OPTIONS: dict[str, dict[str, Any]] = {
    "prm": {"num_positions": 3},
    "fignn": {"attention_heads": 2, "deep_part": True},
    "fibinet": {"bilinear_kind": "field_each"},
}


class TestPublishedInitialValues:
    def test_kernels_and_embeddings_are_normal_and_not_truncated(self) -> None:
        layer = tf.keras.layers.Dense(400)
        layer(tf.zeros([1, 600]))
        published_initial_values(layer, seed=1)
        kernel = layer.kernel.numpy()
        deviation = np.sqrt(2 / 1000)
        np.testing.assert_allclose(kernel.std(), deviation, rtol=0.01)
        # A truncated normal has nothing beyond two deviations, this one 4.6 %.
        beyond = (np.abs(kernel) > 2 * deviation).mean()
        np.testing.assert_allclose(beyond, 0.0455, atol=0.002)
        np.testing.assert_array_equal(layer.bias, np.zeros(400))

    def test_only_kernels_and_embeddings_of_a_model_change(self) -> None:
        model = small_model(match="means", zero_start=True)
        term = model.scorer._match_terms[0].kernel
        term.assign(tf.zeros_like(term))
        before = {weight.ref(): weight.numpy() for weight in model.trainable_weights}
        published_initial_values(model, seed=1)
        changed = {
            weight.name.rsplit("/", 1)[-1].removesuffix(":0")
            for weight in model.trainable_weights
            if not np.array_equal(before[weight.ref()], weight.numpy())
        }
        assert {"kernel", "item_id_embedding", "genres_embedding", "first_kernel"} <= changed
        assert all(name.endswith(("kernel", "embedding")) for name in changed)
        np.testing.assert_array_equal(term, np.zeros_like(term))
        again = small_model(match="means", zero_start=True)
        published_initial_values(again, seed=1)
        np.testing.assert_array_equal(
            again.scorer.assembly.items.ids.table(), model.scorer.assembly.items.ids.table()
        )

    @pytest.mark.parametrize("name", FUSED)
    def test_a_matrix_inside_a_kernel_has_its_own_fans(self, name: str) -> None:
        make, kernel_name, count, (fan_in, fan_out) = FUSED[name]
        layer = make()
        published_initial_values(layer, seed=1)
        blocks = np.split(named_weights(layer)[kernel_name], count, axis=1)
        expected = np.sqrt(2 / (fan_in + fan_out))
        np.testing.assert_allclose([block.std() for block in blocks], expected, rtol=0.06)
        np.testing.assert_allclose(np.concatenate(blocks).std(), expected, rtol=0.04)

    @pytest.mark.parametrize("name", ["augru", "graph's gru"])
    def test_recurrent_kernels_stay_orthogonal(self, name: str) -> None:
        layer = FUSED[name][0]()
        published_initial_values(layer, seed=1)
        kernel = named_weights(layer)["recurrent_kernel"]
        np.testing.assert_allclose(kernel @ kernel.T, np.eye(len(kernel)), atol=1e-5)

    @pytest.mark.parametrize("name", [*BACKBONES, *RERANKERS, *RETRIEVERS])
    def test_every_dense_matrix_and_embedding_of_a_model_is_drawn(self, name: str) -> None:
        kinds: dict[str, Any] = {**BACKBONES, **RERANKERS, **RETRIEVERS}
        layer = kinds[name](**WITH_OPTIONS.get(name, {}))
        if name in BACKBONES:
            layer(backbone_inputs())
        elif name in RERANKERS:
            layer(list_inputs())
        else:
            layer((user_inputs(), item_inputs()))
        before = {weight.ref(): weight.numpy() for weight in layer.trainable_weights}
        published_initial_values(layer, seed=1)
        kept = {
            weight.name.rsplit("/", 1)[-1].removesuffix(":0")
            for weight in layer.trainable_weights
            if weight.shape.rank == 2 and np.array_equal(before[weight.ref()], weight.numpy())
        }
        assert kept <= OTHERS
