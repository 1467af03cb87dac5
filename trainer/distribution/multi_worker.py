"""Several processes, each with the whole model and its part of every batch."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf
from typing_extensions import override

from configs.command_line import CommandError, say
from trainer.distribution.base import LOST_PROCESS, Distribution
from trainer.distribution.cluster import Cluster
from trainer.training_input import Worker

_IDENTITY_DIGITS = 12


class MultiWorker(Distribution):
    """Workers that sum their gradients over a ring, or over NCCL where they have GPUs."""

    @contextmanager
    @override
    def scope(self) -> Iterator[None]:
        """Makes variables on all workers, and names a worker that is gone.

        Raises:
          CommandError: another worker is gone.
        """
        try:
            with super().scope():
                yield
        except LOST_PROCESS as error:
            raise CommandError(
                "another worker can no longer be reached, and no step can be made without it. Look "
                "for the reason at the worker that ended first, and start all of them again: "
                "training goes on from its last checkpoint"
            ) from error

    @override
    def chief_value(self, number: float) -> float:
        return float(self._gathered([number])[0, 0])

    @override
    def require_same(self, text: str) -> None:
        digest = hashlib.sha256(text.encode()).hexdigest()
        digests = self._gathered([int(digest[:_IDENTITY_DIGITS], 16)])
        if np.ptp(digests):
            raise CommandError(
                "the workers were started with different settings, data or code; give all of them "
                "the same command line, files and version"
            )

    def _gathered(self, numbers: Sequence[float]) -> np.ndarray:
        """Numbers of all replicas, float64 [replicas, numbers], those of the chief first."""
        row = tf.constant([numbers], tf.float64)
        values = self.strategy.experimental_distribute_values_from_function(lambda context: row)
        return self.strategy.gather(values, axis=0).numpy()


def multi_worker(cluster: Cluster) -> MultiWorker:
    """Waits for all workers of a cluster and connects this process with them."""
    if cluster.others:
        say(f"{cluster.name}: waits for the other workers, at {', '.join(cluster.others)}")
    strategy = _strategy()
    worker = Worker(cluster.trainer_index, cluster.trainers, strategy.num_replicas_in_sync)
    return MultiWorker(strategy, worker, cluster.is_chief)


@functools.cache
def _strategy() -> tf.distribute.Strategy:
    """Once per process: collectives cannot be set up anew."""
    options = tf.distribute.experimental
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    communication = (
        options.CommunicationImplementation.NCCL
        if has_gpu
        else options.CommunicationImplementation.RING
    )
    return tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=options.CommunicationOptions(implementation=communication)
    )
