"""Training in several processes: workers with the whole model, or servers that hold it."""

from __future__ import annotations

import functools
import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from typing_extensions import override

from configs.command_line import CommandError, say
from configs.loading import ConfigurationError
from trainer.distribution.base import LOSSES, LOST_PROCESS, Distribution
from trainer.distribution.cluster import SERVER, WORKER, Cluster
from trainer.run_folder import RunFolder
from trainer.training_input import TrainingInput, Worker

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
    """The strategy, made once per process: collectives cannot be set up anew."""
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


_ASK_SECONDS = 1.0
_GONE_SECONDS = 15.0


def serve_chief(cluster: Cluster, folder: RunFolder) -> None:
    """Serves until the chief of parameter servers can no longer be reached.

    Args:
      cluster: with this process as a worker or a parameter server.
      folder: of the run that the chief trains.

    Raises:
      CommandError: the chief is gone, and there is no finished run of it, or only one of before.
    """
    before = _result_file(folder)
    server = tf.distribute.Server(
        tf.train.ClusterSpec({job: list(addresses) for job, addresses in cluster.tasks.items()}),
        job_name=cluster.job,
        task_index=cluster.index,
        protocol="grpc",
    )
    say(f"{cluster.name}: serves at {server.target}, and ends after the chief at {cluster.chief}")
    while not _is_reachable(cluster.chief):
        time.sleep(_ASK_SECONDS)
    seen = time.monotonic()
    while time.monotonic() - seen < _GONE_SECONDS:
        time.sleep(_ASK_SECONDS)
        if _is_reachable(cluster.chief):
            seen = time.monotonic()
    after = _result_file(folder)
    if folder.unfinished.exists() or after in (None, before):
        there = "no run in" if after is None else "only the run of before in"
        raise CommandError(
            f"{cluster.name}: the chief at {cluster.chief} is gone and has not finished ({there} "
            f"{folder.path}, which all processes must see); start all processes again: training "
            "goes on from its last checkpoint"
        )
    say(f"{cluster.name}: the chief has ended")


def _result_file(folder: RunFolder) -> tuple[int, int] | None:
    """Which file a run's result is, if there is one; every training writes another."""
    try:
        status = folder.metrics.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _is_reachable(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_ASK_SECONDS):
            return True
    except OSError:
        return False


_STEPS_OF_A_WORKER = 20
_LEAST_PART_BYTES = 1 << 20


class TableParts:
    """Cuts embedding tables of a megabyte or more into one part for each server.

    Models look them up in parts (`tf.nn.embedding_lookup`); all else is read whole.
    """

    def __init__(self, servers: int):
        """Keeps the number of servers."""
        self._cut = tf.distribute.experimental.partitioners.MinSizePartitioner(
            min_shard_bytes=_LEAST_PART_BYTES, max_shards=servers
        )
        self._is_table = False

    def create(self, next_creator: Callable[..., tf.Variable], **kwargs: object) -> tf.Variable:
        """For `tf.variable_creator_scope`: notes whether the variable is an embedding table."""
        name = str(kwargs.get("name"))
        self._is_table = bool(kwargs.get("trainable")) and name.endswith("embedding")
        return next_creator(**kwargs)

    def __call__(self, shape: tf.TensorShape, dtype: tf.DType, **kwargs: object) -> list[int]:
        """For `ParameterServerStrategy`: parts along every axis of the variable being created."""
        return self._cut(shape, dtype) if self._is_table else [1] * shape.rank


@dataclass(frozen=True)
class ParameterServers(Distribution):
    """Steps without order: each worker reads the weights, and adds its gradient when it has one.

    The chief reads the batches in the order in which one device would, and hands each to the next
    free worker, so that every example of an epoch is trained on once. A step that a dying worker
    had begun is given to another one.

    Attributes:
      workers: how many there are.
      table_parts: how embedding tables are spread over the servers.
    """

    workers: int = field(kw_only=True)
    table_parts: TableParts = field(kw_only=True)

    @contextmanager
    @override
    def scope(self) -> Iterator[None]:
        """Makes variables on the parameter servers; large embedding tables are cut into parts.

        Raises:
          CommandError: a parameter server is gone.
        """
        try:
            with super().scope(), tf.variable_creator_scope(self.table_parts.create):
                yield
        except LOST_PROCESS as error:
            raise CommandError(
                "a parameter server can no longer be reached, and its weights are lost; start "
                "all processes again: training goes on from its last checkpoint"
            ) from error

    @override
    def call(self, function: Callable[[], object]) -> None:
        # Eager kernels do not know the shapes of variables of other processes.
        tf.function(function, autograph=False)()

    @override
    def fit(
        self,
        model: tfrs.models.Model,
        examples: TrainingInput,
        epoch: int,
        steps: tuple[int, int],
        callbacks: Sequence[tf.keras.callbacks.Callback],
    ) -> None:
        """Trains an epoch on all workers.

        After twenty steps for each worker all are waited for, callbacks are told of them together,
        and a checkpoint may be written.
        """
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
            if len(handed_out) == _STEPS_OF_A_WORKER * self.workers or count == last - first:
                coordinator.join()
                losses = [float(result.fetch()["loss"]) for result in handed_out]
                handed_out.clear()
                told = {"loss": sum(losses) / len(losses), LOSSES: len(losses)}
                for callback in callbacks:
                    callback.on_train_batch_end(count - 1, told)


def parameter_servers(cluster: Cluster) -> ParameterServers:
    """Waits for all processes of a cluster and connects the chief with them."""
    workers, servers = cluster.tasks[WORKER], cluster.tasks[SERVER]
    say(
        f"chief: waits for the workers at {', '.join(workers)} and the parameter servers at "
        f"{', '.join(servers)}"
    )
    return _connected(len(workers), len(servers))


@functools.cache
def _connected(workers: int, servers: int) -> ParameterServers:
    """The strategy, made once per process, which can be in one cluster only."""
    # A process that is gone is noticed at once, not after gRPC's own patience.
    os.environ.setdefault("GRPC_FAIL_FAST", "use_caller")
    parts = TableParts(servers)
    strategy = tf.distribute.ParameterServerStrategy(
        tf.distribute.cluster_resolver.TFConfigClusterResolver(), variable_partitioner=parts
    )
    if strategy.num_replicas_in_sync > 1:
        raise ConfigurationError(
            "training.distribution=parameter_server: a worker has "
            f"{strategy.num_replicas_in_sync} GPUs; start one worker for each of them, with "
            "CUDA_VISIBLE_DEVICES"
        )
    _Coordinator(strategy)
    return ParameterServers(strategy, workers=workers, table_parts=parts)


class _Coordinator(tf.distribute.coordinator.ClusterCoordinator):
    """The one coordinator of a strategy."""

    def __del__(self) -> None:
        """Does nothing: TensorFlow's waits for workers that are gone, and the process hangs."""


@functools.lru_cache(maxsize=1)
def _step(
    strategy: tf.distribute.Strategy, model: tfrs.models.Model
) -> tf.types.experimental.GenericFunction:
    return tf.function(
        lambda batch: strategy.run(model.train_step, args=(batch,)), reduce_retracing=True
    )
