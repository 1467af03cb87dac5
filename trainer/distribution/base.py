"""On which devices and in which processes a model is trained, as the configuration says."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.loading import ConfigurationError
from trainer.training_input import TrainingInput, Worker

LOSSES = "losses"
"""Of how many steps the loss that callbacks are told is the mean; one where it is not told."""
LOST_PROCESS = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)
"""What TensorFlow raises where another process can no longer be reached."""


@dataclass(frozen=True)
class Distribution:
    """One process with one device, or with several over which the model is mirrored.

    Every device makes each step on its part of the batch, and gradients are summed over them.

    Attributes:
      strategy: of tf.distribute; the default one for a single device.
      worker: the share of this process.
      is_chief: whether this process writes the run folder and talks to people.
    """

    strategy: tf.distribute.Strategy = field(default_factory=tf.distribute.get_strategy)
    worker: Worker = Worker()
    is_chief: bool = True

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Variables made inside belong to the strategy."""
        with self.strategy.scope():
            yield

    def call(self, function: Callable[[], object]) -> None:
        """Calls a function that runs a model outside of a step."""
        function()

    def fit(
        self,
        model: tfrs.models.Model,
        examples: TrainingInput,
        epoch: int,
        steps: tuple[int, int],
        callbacks: Sequence[tf.keras.callbacks.Callback],
    ) -> None:
        """Makes steps of an epoch.

        Args:
          model: compiled.
          examples: this process's share of the batches.
          epoch: from 0.
          steps: the first one, from 0, and the one at which to stop.
          callbacks: of Keras.
        """
        first, last = steps
        batches = examples.epoch(epoch, first).take(last - first)
        model.fit(
            batches if self.worker.replicas == 1 else self._dealt_to_replicas(batches),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=last - first,
            callbacks=[*callbacks],
            verbose=0,
        )

    def chief_value(self, number: float) -> float:
        """The chief's number, on which all processes then agree; waits for all of them."""
        return number

    def require_same(self, text: str) -> None:
        """Makes sure that all processes have the same text.

        Raises:
          CommandError: one has another.
        """

    @contextmanager
    def kept_or_thrown_away(self, path: Path) -> Iterator[Path]:
        """A path to write to: the given one on the chief, elsewhere one that goes afterwards.

        Some variables are spread over all processes, so that all must write them at a time.
        """
        if self.is_chief:
            yield path
            return
        with tempfile.TemporaryDirectory() as aside:
            yield Path(aside) / path.name

    def _dealt_to_replicas(self, batches: tf.data.Dataset) -> object:
        """The batches of this process, dealt to its devices row by row."""
        devices = self.worker.replicas // self.worker.count

        def parts(*batch: object) -> tf.data.Dataset:
            return tf.data.Dataset.range(devices).map(
                lambda device: tf.nest.map_structure(lambda values: values[device::devices], batch)
            )

        dealt = batches if devices == 1 else batches.flat_map(parts)
        return self.strategy.distribute_datasets_from_function(lambda context: dealt)


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
        num_devices = len(tf.config.list_logical_devices("CPU"))
        if num_devices < count:
            raise ConfigurationError(
                f"training.devices: {count} are wanted, and TensorFlow has started with "
                f"{num_devices} logical devices of the CPU, which cannot be changed any more; use "
                "a process of its own"
            ) from error


def prepare_devices() -> str:
    """Lets memory of GPUs be taken as it is needed, and says in one line what will compute.

    Without this, TensorFlow takes the memory of all GPUs when it first uses one. Call it before
    anything is computed: a GPU that is in use already is left as it is.
    """
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            # In use already, with all memory that it will ever have.
            break
    if not gpus:
        cores = len(os.sched_getaffinity(0))
        return f"computes on the CPU, {cores} cores; TensorFlow finds no GPU (docs/training.md)"
    names = [
        str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name))
        for gpu in gpus
    ]
    kinds = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    return f"computes on {len(gpus)} GPU{'s' if len(gpus) > 1 else ''}: {kinds}"
