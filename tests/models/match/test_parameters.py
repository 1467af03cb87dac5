from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from models.match.ridge import PositiveParameter


@pytest.mark.parametrize("value", [0.5, (0.1, 0.25)])
def test_a_parameter_starts_at_its_value(value: float | tuple[float, ...]) -> None:
    layer = tf.keras.layers.Layer()
    np.testing.assert_allclose(PositiveParameter(layer, "scale", value, False)(), value)
    assert layer.weights == []
    np.testing.assert_allclose(PositiveParameter(layer, "scale", value, True)(), value, rtol=1e-6)
    assert [weight.name for weight in layer.trainable_weights] == ["log_scale:0"]


def test_training_moves_it_and_keeps_it_positive() -> None:
    layer = tf.keras.layers.Layer()
    parameter = PositiveParameter(layer, "scale", 0.5, True)
    (weight,) = layer.trainable_weights
    weight.assign(-3.0)
    assert float(parameter()) == pytest.approx(np.exp(-3))
    for extreme, bound in ((-50.0, 1e-3), (50.0, 1e3)):
        weight.assign(weight.constraint(tf.constant(extreme)))
        assert float(parameter()) == pytest.approx(bound, rel=1e-4)
