"""Training on several devices and in several processes: the distribution of a configuration."""

from __future__ import annotations

import functools

import tensorflow as tf

from configs.training import Training
from trainer.distribution.base import LOSSES, LOST_PROCESS, Distribution, mirrored_devices
from trainer.distribution.cluster import cluster_of
from trainer.distribution.processes import multi_worker, parameter_servers
from trainer.model_kinds import UntrainableError
from trainer.training_input import Worker

__all__ = ["LOSSES", "LOST_PROCESS", "Distribution", "distribution_of", "require_devices"]


def distribution_of(training: Training) -> Distribution:
    """Sets TensorFlow up for a distribution, before it makes its first tensor.

    Raises:
      ConfigurationError: there are no such devices, or TF_CONFIG is not what it needs to be.
      trainer.model_kinds.UntrainableError: a batch has fewer samples than there are devices.
    """
    distribution = _connected(training)
    _require_large_batches(training, distribution.worker.replicas)
    return distribution


def require_devices(training: Training) -> None:
    """Makes sure of what a distribution needs, as far as is known before devices are taken.

    Raises:
      As `distribution_of`.
    """
    if cluster_of(training) is None and training.distribution == "mirrored":
        _require_large_batches(training, len(mirrored_devices(training.devices)))


def _require_large_batches(training: Training, devices: int) -> None:
    if training.batch_size < devices:
        raise UntrainableError(
            f"training.batch_size: {training.batch_size} samples cannot be dealt to {devices} "
            f"devices; set it to {devices} or more"
        )


def _connected(training: Training) -> Distribution:
    cluster = cluster_of(training)
    if cluster is not None:
        if training.distribution == "multi_worker":
            return multi_worker(cluster)
        return parameter_servers(cluster)
    if training.distribution == "none":
        return Distribution()
    strategy = _mirrored(tuple(mirrored_devices(training.devices)))
    return Distribution(strategy, Worker(replicas=strategy.num_replicas_in_sync))


@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.Strategy:
    """The strategy of all trainings of a process: collectives of two would be mixed up."""
    return tf.distribute.MirroredStrategy(devices)
