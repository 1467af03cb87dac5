"""A chief that hands steps to workers, and servers that hold the weights."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError, say
from configs.loading import ConfigurationError
from trainer.distribution.base import LOST_PROCESS, Distribution
from trainer.distribution.cluster import SERVER, WORKER, Cluster
from trainer.training_input import TrainingInput

_STEPS_HANDED_OUT = 100
_LEAST_SHARD_BYTES = 1 << 20


class ParameterServers(Distribution):
    """Steps without order: each worker reads the weights, and adds its gradient when it has one.

    The chief reads the batches in the order in which one device would, and hands each to the next
    free worker, so that every example of an epoch is trained on once. A step that a dying worker
    had begun is given to another one.
    """

    @contextmanager
    def scope(self) -> Iterator[None]:
        """See `Distribution.scope`; large embedding tables are cut into parts.

        Raises:
          CommandError: a parameter server is gone.
        """
        try:
            with super().scope(), tf.variable_creator_scope(_cut_embeddings):
                yield
        except LOST_PROCESS as error:
            raise CommandError(
                "a parameter server can no longer be reached, and its weights are lost; start "
                "all processes again: training goes on from its last checkpoint"
            ) from error

    def call(self, function: Callable[[], object]) -> None:
        """See `Distribution.call`."""
        # Eager kernels do not know the shapes of variables of other processes.
        tf.function(function)()

    def fit(
        self,
        model: tfrs.models.Model,
        examples: TrainingInput,
        epoch: int,
        steps: tuple[int, int],
        callbacks: Sequence[tf.keras.callbacks.Callback],
    ) -> None:
        """See `Distribution.fit`; callbacks are told of up to a hundred steps at once."""
        first, last = steps
        for callback in callbacks:
            callback.set_model(model)
            callback.set_params({"steps": last - first, "epochs": epoch + 1, "verbose": 0})
            callback.on_epoch_begin(epoch)
        coordinator = _Coordinator(self.strategy)
        step = _step(self.strategy, model)
        handed_out = []
        for count, batch in enumerate(examples.epoch(epoch, first).take(last - first), start=1):
            handed_out.append(coordinator.schedule(step, args=(batch,)))
            if len(handed_out) == _STEPS_HANDED_OUT or count == last - first:
                coordinator.join()
                losses = [float(result.fetch()["loss"]) for result in handed_out]
                handed_out.clear()
                for callback in callbacks:
                    callback.on_train_batch_end(count - 1, {"loss": sum(losses) / len(losses)})


def parameter_servers(cluster: Cluster) -> ParameterServers:
    """Waits for all processes of a cluster and connects the chief with them."""
    workers, servers = cluster.tasks[WORKER], cluster.tasks[SERVER]
    say(
        f"chief: waits for the workers at {', '.join(workers)} and the parameter servers at "
        f"{', '.join(servers)}"
    )
    return ParameterServers(_strategy(len(servers)))


@functools.cache
def _strategy(servers: int) -> tf.distribute.Strategy:
    """Once per process, which can be in one cluster only."""
    # A process that is gone is noticed at once, not after gRPC's own patience.
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    strategy = tf.distribute.ParameterServerStrategy(
        tf.distribute.cluster_resolver.TFConfigClusterResolver(),
        variable_partitioner=_Partitioner(servers),
    )
    if strategy.num_replicas_in_sync > 1:
        raise ConfigurationError(
            "training.distribution=parameter_server: a worker has "
            f"{strategy.num_replicas_in_sync} GPUs; start one worker for each of them, with "
            "CUDA_VISIBLE_DEVICES"
        )
    _Coordinator(strategy)
    return strategy


class _Coordinator(tf.distribute.coordinator.ClusterCoordinator):
    """The one coordinator of a strategy."""

    def __del__(self) -> None:
        """Nothing: TensorFlow's waits for workers that are gone, and the process could not end."""


class _Partitioner:
    """Cuts what `_cut_embeddings` creates; all else is looked up in ways that need it whole."""

    is_on = False

    def __init__(self, servers: int):
        self._cut = tf.distribute.experimental.partitioners.MinSizePartitioner(
            min_shard_bytes=_LEAST_SHARD_BYTES, max_shards=servers
        )

    def __call__(self, shape: tf.TensorShape, dtype: tf.DType, **kwargs: object) -> list[int]:
        return self._cut(shape, dtype) if _Partitioner.is_on else [1] * shape.rank


def _cut_embeddings(next_creator: Callable[..., tf.Variable], **kwargs: object) -> tf.Variable:
    name = str(kwargs.get("name"))
    _Partitioner.is_on = bool(kwargs.get("trainable")) and name.endswith("embedding")
    try:
        return next_creator(**kwargs)
    finally:
        _Partitioner.is_on = False


@functools.lru_cache(maxsize=1)
def _step(
    strategy: tf.distribute.Strategy, model: tfrs.models.Model
) -> tf.types.experimental.GenericFunction:
    return tf.function(
        lambda batch: strategy.run(model.train_step, args=(batch,)), reduce_retracing=True
    )
