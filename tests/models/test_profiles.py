from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.layer_support import precision
from models.profiles import (
    ProfileAttribute,
    ProfileEncoder,
    ProfileLookup,
    profile_key,
    raw_profile_key,
)
from tests.models.builders import gradients_of, randomise

WIDTH = 3
ATTRIBUTES = {
    "jobs": ProfileAttribute("categorical", ("cook", "pilot")),
    "age": ProfileAttribute("numeric"),
    "town": ProfileAttribute("categorical", ("Bonn",)),
}
RAW = {
    "profile_jobs": tf.constant([["pilot", "cook"], ["poet", ""], ["", ""], ["cook", ""]]),
    "profile_age": tf.constant([[20.0], [np.nan], [50.0], [35.0]]),
    "profile_town": tf.constant([["Bonn"], [""], ["Ulm"], ["Bonn"]]),
}


def test_raw_values_become_indices() -> None:
    prepared = ProfileLookup(ATTRIBUTES)(RAW)
    np.testing.assert_array_equal(prepared["profile/jobs"], [[3, 2], [1, 0], [0, 0], [2, 0]])
    np.testing.assert_array_equal(prepared["profile/town"], [[2], [0], [1], [2]])
    np.testing.assert_array_equal(prepared["profile/age"], [[20], [np.nan], [50], [35]])
    assert (raw_profile_key("age"), profile_key("age")) == ("profile_age", "profile/age")


def test_values_of_an_attribute_without_known_values_are_unknown() -> None:
    attributes = {"jobs": ProfileAttribute("categorical", ())}
    prepared = ProfileLookup(attributes)(RAW)
    np.testing.assert_array_equal(prepared["profile/jobs"], [[1, 1], [1, 0], [0, 0], [1, 0]])
    assert prepared["profile/jobs"].dtype == tf.int32
    fields, numbers = ProfileEncoder(attributes, 3)(prepared)
    assert fields.shape == (4, 1, 3) and numbers.shape == (4, 0)
    np.testing.assert_array_equal(fields[0], fields[3])


def test_nobodys_number_and_surplus_numbers() -> None:
    lookup = ProfileLookup({"age": ATTRIBUTES["age"]})
    nothing = lookup({"profile_age": tf.zeros([2, 0])})["profile/age"]
    np.testing.assert_array_equal(nothing, [[np.nan], [np.nan]])
    two = lookup({"profile_age": tf.constant([[1.0, 2.0]])})["profile/age"]
    np.testing.assert_array_equal(two, [[1.0]])


def encoder() -> ProfileEncoder:
    layer = ProfileEncoder(ATTRIBUTES, WIDTH)
    layer(ProfileLookup(ATTRIBUTES)(RAW))
    randomise(layer.trainable_weights, seed=1)
    return layer


def test_fields_are_mean_embeddings_and_numbers_are_standardised() -> None:
    layer = encoder()
    jobs, town = (layer._embeddings[name].numpy() for name in ("jobs", "town"))
    fields, numbers = layer(ProfileLookup(ATTRIBUTES)(RAW), training=True)
    expected = [
        [(jobs[3] + jobs[2]) / 2, town[2]],
        [jobs[1], town[1]],
        [jobs[1], town[1]],
        [jobs[2], town[2]],
    ]
    np.testing.assert_allclose(fields, expected, atol=1e-6)
    ages = np.array([20.0, 50.0, 35.0])
    scaled = (ages - ages.mean()) / np.sqrt(ages.var() + 1e-3)
    np.testing.assert_allclose(
        numbers, [[scaled[0], 0], [0, 1], [scaled[1], 0], [scaled[2], 0]], atol=1e-5
    )


def test_inference_uses_moving_statistics() -> None:
    layer = encoder()
    prepared = ProfileLookup(ATTRIBUTES)(RAW)
    layer._standardise["age"].moving_mean.assign([30.0])
    layer._standardise["age"].moving_variance.assign([100.0])
    _, numbers = layer(prepared)
    np.testing.assert_allclose(numbers[:, 0], [-1, 0, 2, 0.5], atol=1e-4)
    for row in range(4):
        alone = layer({name: value[row : row + 1] for name, value in prepared.items()})
        np.testing.assert_allclose(alone[0][0], layer(prepared)[0][row], atol=1e-6)
        np.testing.assert_allclose(alone[1][0], numbers[row], atol=1e-6)


def test_a_batch_of_unknown_numbers_stays_finite() -> None:
    layer = encoder()
    prepared = ProfileLookup(ATTRIBUTES)(RAW) | {"profile/age": tf.fill([4, 1], np.nan)}
    for training in (True, False):
        np.testing.assert_array_equal(layer(prepared, training=training)[1], [[0.0, 1.0]] * 4)
    assert np.isfinite(layer._standardise["age"].moving_variance).all()


def test_every_embedding_gets_a_gradient() -> None:
    layer, prepared = encoder(), ProfileLookup(ATTRIBUTES)(RAW)
    weights = layer.trainable_weights
    assert len(weights) == 2
    gradients = gradients_of(lambda: tf.reduce_sum(layer(prepared)[0]), weights)
    for gradient in gradients:
        assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("kind", ["categorical", "numeric"])
def test_one_kind_of_attributes_is_enough(kind: str) -> None:
    attributes = {name: value for name, value in ATTRIBUTES.items() if value.kind == kind}
    layer = ProfileEncoder(attributes, WIDTH)
    fields, numbers = layer(ProfileLookup(attributes)(RAW))
    shapes = {"categorical": ((4, 2, WIDTH), (4, 0)), "numeric": ((4, 0, WIDTH), (4, 2))}
    assert (fields.shape, numbers.shape) == shapes[kind]
    # Other prepared features may have other lengths: here seven candidates of one user.
    one_user = {name: value[:1] for name, value in ProfileLookup(attributes)(RAW).items()}
    fields, numbers = layer({"item_row": tf.zeros([7], tf.int32), **one_user})
    assert fields.shape[0] == numbers.shape[0] == 1


def test_years_keep_their_digits_in_mixed_precision() -> None:
    years = {"profile/age": tf.constant([[1960.0], [1961.0], [1963.0], [2001.0]])}
    with precision("mixed_bfloat16"):
        layer = ProfileEncoder({"age": ATTRIBUTES["age"]}, WIDTH)
        _, numbers = layer(years, training=True)
    assert numbers.dtype == tf.bfloat16
    values = years["profile/age"].numpy()[:, 0]
    expected = (values - values.mean()) / values.std()
    np.testing.assert_allclose(tf.cast(numbers[:, 0], tf.float32), expected, atol=0.01)
