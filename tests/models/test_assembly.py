from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from models.assembly import Augmented, AugmentedUse, InputAssembly, augment
from models.backbones.base import BackboneInputs
from models.catalogue import Catalogue
from models.features import ItemEncoder
from models.item_ids import TrainedIds
from models.profiles import ProfileEncoder
from tests.models.augmented_batches import LENGTH, SHAPES, TABLES, WIDTH, Lookup, prepared
from tests.models.builders import PROFILES, catalogue_contents, randomise


def assembly(with_profiles: bool = False, **use: Any) -> InputAssembly:
    catalogue = Catalogue(catalogue_contents())
    ids = TrainedIds(catalogue.num_trained_items + 1, WIDTH, catalogue.embedding_rows)
    layer = InputAssembly(
        ItemEncoder(catalogue, ids, WIDTH),
        num_match_features=2,
        positive_rating=4.0,
        use=AugmentedUse(("item", "plot"), ("user",), **use),
        profile=ProfileEncoder(PROFILES, WIDTH) if with_profiles else None,
    )
    example = prepared((2,), 2)
    layer(example, augment(Lookup(), example))
    randomise(layer.trainable_weights, seed=1)
    layer.set_match_statistics(tf.constant([0.5, -1.0]), tf.constant([2.0, 0.1]))
    return layer


def repeated(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What belongs to users, once for every candidate."""
    values = values[:, np.newaxis] if len(shape) == 2 else values
    return np.broadcast_to(values, (*shape, *values.shape[len(shape) :]))


@pytest.mark.parametrize(("shape", "users"), SHAPES)
def test_every_field_has_its_place(shape: tuple[int, ...], users: int) -> None:
    layer, features = assembly(with_profiles=True), prepared(shape, users)
    augmented = augment(Lookup(), features)
    inputs, match = layer(features, augmented)
    candidate, history = layer.items(features["item_row"], features["history_row"])
    np.testing.assert_allclose(inputs.candidate, candidate)
    ratings = features["history_rating"].numpy()[..., np.newaxis]
    steps = [history.numpy().reshape(users, LENGTH, -1), ratings - 4, ratings >= 4]
    np.testing.assert_allclose(inputs.history, np.concatenate(steps, axis=-1), atol=1e-6)
    np.testing.assert_array_equal(inputs.history_mask, features["history_mask"])
    expected = np.clip((features["match"] - [0.5, -1.0]) / [2.0, 0.1], -5, 5)
    np.testing.assert_allclose(match, expected, atol=1e-5)
    fields, numbers = layer.profile(features)
    np.testing.assert_allclose(
        inputs.numeric,
        np.concatenate([features["numeric"], expected, repeated(numbers.numpy(), shape)], axis=-1),
        atol=1e-5,
    )
    own = [augmented.own["item"].numpy(), augmented.own["plot"].numpy()]
    own.append(repeated(augmented.own["user"].numpy(), shape))
    own += [repeated(fields.numpy()[:, field], shape) for field in range(fields.shape[1])]
    np.testing.assert_allclose(inputs.side_fields, np.stack(own, axis=-2), atol=1e-6)


@pytest.mark.parametrize(("shape", "users"), SHAPES)
def test_knowledge_inside_the_history(shape: tuple[int, ...], users: int) -> None:
    layer, plain, features = assembly(in_history=True), assembly(), prepared(shape, users)
    augmented = augment(Lookup(), features)
    plain.items.set_weights(layer.items.get_weights())
    inputs, without = layer(features, augmented)[0], plain(features, augmented)[0]
    own = [augmented.own["item"], augmented.own["plot"]]
    np.testing.assert_allclose(
        inputs.candidate, np.concatenate([without.candidate, np.stack(own, axis=-2)], axis=-2)
    )
    steps = [without.history[..., :-2], augmented.history["item"], augmented.history["plot"]]
    np.testing.assert_allclose(
        inputs.history, np.concatenate([*steps, without.history[..., -2:]], axis=-1)
    )
    assert inputs.side_fields.shape == (*shape, 1, WIDTH)


def test_a_factor_gate_makes_one_field_of_the_sources_of_an_entity() -> None:
    layer, features = assembly(factor_gate=True), prepared((3,), 3)
    augmented = augment(Lookup(), features)
    weights = layer.factor_weights(augmented)
    assert set(weights) == {"item"}
    item_weights = weights["item"].numpy()[..., np.newaxis]
    expected = (
        item_weights[:, 0] * augmented.own["item"] + item_weights[:, 1] * augmented.own["plot"]
    )
    side = layer(features, augmented)[0].side_fields
    np.testing.assert_allclose(side[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(side[:, 1], augmented.own["user"])


def test_fields_that_start_at_zero() -> None:
    layer, features = assembly(zero_start=True), prepared((3,), 3)
    augmented = augment(Lookup(), features)
    scale = {entity: start.weights[0].numpy() for entity, start in layer._starts.items()}
    side = layer(features, augmented)[0].side_fields
    np.testing.assert_allclose(side[:, 1], augmented.own["plot"] * scale["item"][1], rtol=1e-6)
    np.testing.assert_allclose(side[:, 2], augmented.own["user"] * scale["user"][0], rtol=1e-6)


@pytest.mark.parametrize("users", [1, None])
def test_graph_equals_eager_with_static_widths(users: int | None) -> None:
    layer, features = assembly(with_profiles=True, in_history=True), prepared((3,), users or 3)
    augmented = augment(Lookup(), features)
    specifications = tf.nest.map_structure(
        lambda value: tf.TensorSpec(
            [1 if value.shape[0] == 1 else None, *value.shape[1:]], value.dtype
        ),
        (features, augmented),
    )

    @tf.function(input_signature=list(specifications), autograph=False)
    def in_graph(features: Any, augmented: Any) -> BackboneInputs:
        inputs, _ = layer(features, augmented)
        assert inputs.side_fields.shape[1:] == (2, WIDTH)
        assert inputs.candidate.shape[1:] == (4, WIDTH)
        assert inputs.numeric.shape[1] == 9
        return inputs

    for actual, expected in zip(
        in_graph(features, augmented), layer(features, augmented)[0], strict=True
    ):
        np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_a_source_that_knows_nothing_of_a_candidate_is_at_its_mean() -> None:
    layer, features = assembly(), prepared((3,), 3)
    features["match"] = tf.constant([[np.nan, 1.0], [np.nan, np.nan], [0.5, -1.0]])
    inputs, match = layer(features, augment(Lookup(), features))
    np.testing.assert_allclose(match, [[0, 5], [0, 0], [0, 0]])
    np.testing.assert_array_equal(inputs.numeric[:, -2:], match)


def test_match_sources_are_hidden_in_training_each_on_its_own() -> None:
    layer, features = assembly(), prepared((4000,), 1)
    layer._num_match_sources, layer._match_dropout_rate = 2, 0.25
    augmented = augment(Lookup(), features)
    tf.keras.utils.set_random_seed(0)
    shown = layer(features, augmented)[1].numpy()
    hidden = layer(features, augmented, training=True)[1].numpy() != shown
    np.testing.assert_allclose(hidden.mean(axis=0), [0.25, 0.25], atol=0.03)
    # Independent: both are hidden in a share of 0.25 * 0.25.
    np.testing.assert_allclose(hidden.all(axis=1).mean(), 0.0625, atol=0.015)


@pytest.mark.parametrize("hides_interactions", [True, False])
@pytest.mark.parametrize(("shape", "users"), [((40,), 40), ((40,), 1), ((8, 5), 8), ((1,), 1)])
def test_a_candidate_with_a_hidden_id_looks_like_a_new_item(
    shape: tuple[int, ...], users: int, hides_interactions: bool
) -> None:
    catalogue = Catalogue(catalogue_contents())
    ids = TrainedIds(catalogue.num_trained_items + 1, WIDTH, catalogue.embedding_rows)
    layer = InputAssembly(
        ItemEncoder(catalogue, ids, WIDTH, id_dropout_rate=0.5),
        num_match_features=4,
        positive_rating=4.0,
        num_match_sources=2,
        hides_interactions=hides_interactions,
        match_of_interactions=[False, True],
    )
    features = prepared(shape, users)
    random = np.random.default_rng(4)
    # Users have three numbers, items two statistics and here two numbers more.
    features["numeric"] = tf.constant(random.uniform(1, 2, [*shape, 7]), tf.float32)
    features["match"] = tf.constant(random.uniform(1, 2, [*shape, 4]), tf.float32)
    features["item_row"] = tf.fill(shape, 2)
    shown, _ = layer(features, Augmented(), training=False)
    tf.keras.utils.set_random_seed(3)
    trained, match = layer(features, Augmented(), training=True)

    is_hidden = (trained.candidate[..., 0, :] != shown.candidate[..., 0, :]).numpy().all(axis=-1)
    if len(is_hidden) > 1:
        assert 0 < is_hidden.mean() < 1
    expected = np.concatenate([features["numeric"], features["match"]], axis=-1)
    if hides_interactions:
        expected[is_hidden] *= [1, 1, 1, 0, 0, 1, 1] + [1, 1, 0, 0]
    np.testing.assert_array_equal(trained.numeric, expected)
    np.testing.assert_array_equal(match, expected[..., 7:])
    np.testing.assert_array_equal(shown.numeric[..., :7], features["numeric"])


def test_match_dropout_without_a_match_changes_nothing() -> None:
    catalogue = Catalogue(catalogue_contents())
    ids = TrainedIds(catalogue.num_trained_items + 1, WIDTH, catalogue.embedding_rows)
    layer = InputAssembly(
        ItemEncoder(catalogue, ids, WIDTH, id_dropout_rate=0.5),
        0,
        4.0,
        num_match_sources=0,
        match_dropout_rate=0.5,
        hides_interactions=True,
    )
    features = prepared((3,), 3) | {"match": tf.zeros([3, 0])}
    assert layer(features, Augmented(), training=True)[1].shape == (3, 0)


def test_alignment_leaves_out_hidden_knowledge_and_new_items() -> None:
    layer, features = assembly(alignment_weight=1.0), prepared((4,), 1)
    # Item 4 occurs in no training sample, so that it has no id of its own.
    features["item_row"] = tf.constant([1, 2, 3, 4])
    augmented = augment(Lookup(), features, training=True)
    vectors = np.arange(16, dtype=np.float32).reshape(4, 4) ** 2

    def loss(vectors: np.ndarray, hidden: int = 0) -> float:
        """With so many candidates whose knowledge is hidden: they have the source's default."""
        own = dict(augmented.own)
        for source in ("item", "plot"):
            default = np.broadcast_to(augmented.defaults[source], [hidden, WIDTH])
            own[source] = tf.constant(np.concatenate([default, vectors[hidden:]]))
        layer(features, augmented._replace(own=own), training=True)
        return float(sum(layer.losses))

    changed = np.concatenate([vectors[:3], -vectors[3:]])
    assert loss(changed) == pytest.approx(loss(vectors)) and loss(vectors) > 0
    assert 0 < loss(vectors, hidden=1) != pytest.approx(loss(vectors))
    # One candidate alone has no negative.
    assert loss(vectors, hidden=2) == 0


class TestAugmentation:
    @pytest.mark.parametrize(("shape", "users"), SHAPES)
    def test_augmented_vectors_of_candidates_and_histories_in_one_call(
        self, shape: tuple[int, ...], users: int
    ) -> None:
        lookup, features = Lookup(), prepared(shape, users)
        augmented = augment(lookup, features, training=True)
        assert lookup.calls == 1
        for source in ("item", "plot"):
            for kind, vectors in (("", augmented.own), ("history_", augmented.history)):
                rows = features[f"{kind}knowledge_row/{source}"]
                np.testing.assert_array_equal(vectors[source], TABLES[source][rows])
        np.testing.assert_array_equal(
            augmented.own["user"], TABLES["user"][features["knowledge_row/user"]]
        )
        assert set(augmented.history) == {"item", "plot"}
        assert set(augmented.defaults) == set(Lookup.sources)
        assert augment(lookup, features).defaults == {}

    def test_without_an_adapter_nothing_is_augmented(self) -> None:
        assert augment(None, prepared((3,), 3)) == Augmented({}, {})
