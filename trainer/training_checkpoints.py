"""Checkpoints from which an interrupted training goes on as if nothing had happened."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError, free_space, say
from configs.files import LOCK_FILE
from trainer.distribution import LOST_PROCESS, Distribution
from trainer.metrics import AnyMetrics
from trainer.model_kinds import reason_of
from trainer.run_folder import CHECKPOINTS
from trainer.run_identity import differences


@dataclass
class TrainingState:
    """What a training must remember, beside its variables, to go on after an interruption.

    Attributes:
      epoch: the epoch that is being trained, from 0.
      step: its finished steps.
      loss_sum: sum of the losses of those steps.
      losses: how many they are; fewer than `step` where several steps run in one call.
      rows: one dictionary for every finished epoch, for history.csv.
      best: all validation metrics of the best epoch; None before the first one has ended.
      best_epoch: counted from 1.
      selection_metric: by which epochs are compared.
      seconds: wall time of training and validation so far, interruptions left out.
      is_finished: whether the last epoch has ended.
    """

    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    losses: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)
    best: AnyMetrics | None = None
    best_epoch: int = 0
    selection_metric: str = ""
    seconds: float = 0.0
    is_finished: bool = False

    def start_epoch(self, epoch: int) -> None:
        """Begins an epoch at its first step."""
        self.epoch, self.step = epoch, 0
        self.loss_sum, self.losses = 0.0, 0

    @property
    def mean_loss(self) -> float:
        """Mean loss of the steps of this epoch."""
        return self.loss_sum / max(self.losses, 1)

    def to_json(self) -> str:
        """All attributes; floats come back as they were."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> TrainingState:
        """What `to_json` gave."""
        return cls(**json.loads(text))


@contextmanager
def restorable_random_numbers() -> Iterator[None]:
    """Layers made inside draw from `tf.random.Generator`, whose state is a variable.

    Those made outside draw from the kernels' own counters, which nothing can save.

    Devices of a distribution have one state, from which each draws numbers of its own: a training
    that goes on with as many devices draws what an unbroken one would. Workers of parameter servers
    draw in the order in which they come.
    """
    backend = tf.keras.backend.experimental
    was_enabled = backend.is_tf_random_generator_enabled()
    backend.enable_tf_random_generator()
    try:
        yield
    finally:
        if not was_enabled:
            backend.disable_tf_random_generator()


def random_states(model: tf.keras.Model) -> list[tf.Variable]:
    """State of every generator of a model that was built by `restorable_random_numbers`.

    Keras keeps these variables out of its own checkpoints, and gives no public way to them.
    """
    layers = [
        layer
        for layer in model.submodules
        if isinstance(layer, tf.keras.__internal__.layers.BaseRandomLayer)
    ]
    generators = [layer._random_generator._generator for layer in layers if layer.built]
    return [generator.state for generator in generators if generator is not None]


_IDENTITY = "identity.json"
_STEPS = "steps"
_KEPT = 2


class TrainingCheckpoints:
    """Everything an unfinished training needs: weights, optimizer, random numbers and state.

    The state is part of the same checkpoint, so that the two always belong together. What training
    does not change, such as knowledge vectors, is not in it.

    Some variables are spread over all processes of a distribution, so all of them write; those
    beside the chief write into a folder of their own, which ends with them.

    Attributes:
      folder: where the checkpoints are.
    """

    def __init__(
        self,
        run: Path,
        identity: Mapping[str, object],
        model: tfrs.models.Model,
        distribution: Distribution | None = None,
    ):
        """Clears the folder if it holds what is left of another training.

        Args:
          run: folder of the unfinished run.
          identity: settings, data and code; a training with others starts from the beginning.
          model: compiled, with all of its weights.
          distribution: of the training; one process when left out.

        Raises:
          CommandError: the processes of the distribution are not of one training, or the folder
            is damaged.
        """
        self.folder = run / CHECKPOINTS
        self._distribution = distribution or Distribution()
        self._state = _State()
        self._weights = tf.train.Checkpoint(changing=changing_weights(model))
        checkpoint = tf.train.Checkpoint(
            weights=self._weights,
            optimizer=model.optimizer,
            random_states=random_states(model),
            state=self._state,
        )
        text = json.dumps(identity, sort_keys=True, default=str)
        self._distribution.require_same(text)
        written = self.folder / _IDENTITY
        is_chief = self._distribution.is_chief
        before = written.read_text(encoding="utf-8") if written.exists() else ""
        if is_chief and before != text:
            if (self.folder / _STEPS).exists():
                changed = ", ".join(differences(before, text)) or _IDENTITY
                say(
                    f"{run}: training starts anew; an interrupted one that differs in {changed} is "
                    "thrown away"
                )
            _clear(run)
            self.folder.mkdir(parents=True)
            written.write_text(text, encoding="utf-8")
        self._aside = None if is_chief else tempfile.TemporaryDirectory(prefix="checkpoints_")
        self._own = self.folder if self._aside is None else Path(self._aside.name)
        self._checkpoint = checkpoint
        with _readable(run):
            self._manager = tf.train.CheckpointManager(
                checkpoint, str(self._own / _STEPS), max_to_keep=_KEPT
            )

    def restore(self) -> TrainingState | None:
        """Goes back to the last checkpoint of the chief, if there is one.

        Raises:
          CommandError: the checkpoint is damaged, or this process does not see the chief's files.
        """
        # Only the chief knows that nobody is about to clear the folder.
        number = int(self._distribution.chief_value(_number(self._manager.latest_checkpoint)))
        if not number:
            return None
        path = self.folder / _STEPS / f"ckpt-{number}"
        if not path.with_name(f"{path.name}.index").exists() and not self._distribution.is_chief:
            raise CommandError(
                f"{path}, which the chief has written, cannot be read; run_dir must be in a folder "
                "that all workers see"
            )
        with _readable(self.folder.parent):
            self._checkpoint.restore(str(path)).assert_existing_objects_matched()
        return TrainingState.from_json(self._state.text)

    def save(self, state: TrainingState) -> None:
        """Writes a checkpoint, and removes the one before the last.

        Raises:
          CommandError: it cannot be written, as on a full disk.
        """
        self._state.text = state.to_json()
        with _writable(self._own):
            self._manager.save()
        for path in self._own.glob("best-*"):
            if path.name.endswith("_temp"):  # Left by a process that was killed while it wrote.
                shutil.rmtree(path)
            elif not path.name.startswith(f"best-{state.best_epoch}."):
                path.unlink()

    def save_best(self, epoch: int) -> None:
        """Keeps the weights of the best epoch so far; earlier ones go with the next `save`.

        Raises:
          CommandError: they cannot be written, as on a full disk.
        """
        self._own.mkdir(parents=True, exist_ok=True)
        with _writable(self._own):
            self._weights.write(str(self._own / f"best-{epoch}"))

    def restore_best(self, epoch: int) -> None:
        """Puts the weights of the best epoch back; only the chief does, which writes them.

        Raises:
          CommandError: they are damaged.
        """
        if self._distribution.is_chief:
            path = self._own / f"best-{epoch}"
            with _readable(self.folder.parent):
                self._weights.read(str(path)).assert_existing_objects_matched()


class _State(tf.train.experimental.PythonState):
    """The state of a training as a part of a checkpoint."""

    text = ""

    def serialize(self) -> str:
        return self.text

    def deserialize(self, string_value: bytes) -> None:
        self.text = string_value.decode()


def _clear(folder: Path) -> None:
    """Empties a folder, which its owner may hold."""
    for path in folder.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()


@contextmanager
def _readable(run: Path) -> Iterator[None]:
    try:
        yield
    except LOST_PROCESS:
        raise
    # A cut-off file is an IndexError, a cut-off list of checkpoints a ValueError.
    except (tf.errors.OpError, IndexError, ValueError, AssertionError) as error:
        raise CommandError(
            f"{run}: a checkpoint of the interrupted training is damaged ({reason_of(error)}); "
            "remove the folder to train from the beginning"
        ) from error


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except LOST_PROCESS:
        raise
    except tf.errors.OpError as error:
        free = free_space(folder)
        raise CommandError(
            f"{folder}: a checkpoint cannot be written ({reason_of(error)}; {free} are free "
            "there); once it can, the same command goes on from the last one"
        ) from error


def _number(path: str | None) -> int:
    """Number of a checkpoint, from 1; 0 for none."""
    return int(path.rpartition("-")[2]) if path else 0


def changing_weights(model: tfrs.models.Model) -> list[tf.Variable]:
    """Weights that training changes: trained ones and moving statistics of normalisations."""
    normalisations = [
        layer for layer in model.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)
    ]
    moving = [weight for layer in normalisations for weight in layer.non_trainable_weights]
    return [*model.trainable_weights, *moving]
