from __future__ import annotations

import pytest
import tensorflow as tf

from configs.loading import ConfigurationError
from trainer.distribution.base import mirrored_devices


@pytest.fixture(autouse=True)
def started_without_gpu() -> None:
    """TensorFlow has started by itself, with one logical device of the CPU."""
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("these are about machines without a GPU")
    assert len(tf.config.list_logical_devices("CPU")) == 1


def test_a_machine_without_gpu_needs_a_number() -> None:
    with pytest.raises(ConfigurationError, match=r"sees no GPU.*training\.devices=2"):
        mirrored_devices(None)


def test_devices_cannot_be_divided_after_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r"training\.devices: 2 are wanted.*1 logical"):
        mirrored_devices(2)


def test_what_is_there_is_taken() -> None:
    assert mirrored_devices(1) == ["CPU:0"]
