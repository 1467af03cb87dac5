"""The devices of one machine over which a model is mirrored."""

from __future__ import annotations

import tensorflow as tf

from configs.loading import ConfigurationError


def mirrored_devices(count: int | None) -> list[str]:
    """Names of the devices: GPUs, or where there is none so many logical devices of the CPU.

    Logical devices of the CPU share its cores: they make nothing faster, and are there to try out
    and to test what happens on several GPUs.

    Args:
      count: `training.devices`; None for all GPUs.

    Raises:
      ConfigurationError: there are fewer GPUs, none and no count, or TensorFlow has started with
        another number of logical devices.
    """
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        if count is not None and count > len(gpus):
            raise ConfigurationError(
                f"training.devices: {count} are wanted, and TensorFlow sees {len(gpus)} GPUs; set "
                "it lower, or leave it empty for all of them"
            )
        return [f"GPU:{index}" for index in range(count or len(gpus))]
    if count is None:
        raise ConfigurationError(
            "training.distribution=mirrored: TensorFlow sees no GPU. Set training.distribution="
            "none, or training.devices=2 to try it out on two logical devices of the CPU"
        )
    _divide_cpu(count)
    return [f"CPU:{index}" for index in range(count)]


def _divide_cpu(count: int) -> None:
    (cpu, *_) = tf.config.list_physical_devices("CPU")
    wanted = [tf.config.LogicalDeviceConfiguration()] * count
    if tf.config.get_logical_device_configuration(cpu) == wanted:
        return
    try:
        tf.config.set_logical_device_configuration(cpu, wanted)
    except RuntimeError as error:
        found = len(tf.config.list_logical_devices("CPU"))
        if found < count:
            raise ConfigurationError(
                f"training.devices: {count} are wanted, and TensorFlow has started with {found} "
                "logical devices of the CPU, which cannot be changed any more; use a process of "
                "its own"
            ) from error
