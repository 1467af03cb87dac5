"""The run folder: what one training run leaves behind, and how it is read back."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError, free_space
from configs.files import LOCK_FILE, alone_in
from configs.loading import load_section, require_there, save_scenario
from configs.scenario import Scenario
from models.building import ModelTables, build_model
from models.inputs import USER_STATISTICS
from models.profiles import ProfileAttribute, raw_profile_key
from trainer.metrics import AnyMetrics
from trainer.model_kinds import MODEL_KINDS, reason_of
from trainer.tables import data_fingerprint, read_model_tables


def dummy_request(model: tfrs.models.Model) -> dict[str, tf.Tensor]:
    """Raw features of one user and one candidate; for a re-ranker, of one list of one candidate."""
    one = tf.ones([1])
    no_id = tf.constant([""])
    request = {
        "user_id": no_id,
        "item_id": no_id[:, tf.newaxis] if MODEL_KINDS[model.kind].has_lists else no_id,
        "history_item_id": no_id[:, tf.newaxis],
        "history_rating": one[:, tf.newaxis],
        **dict.fromkeys(USER_STATISTICS, one),
    }
    for name, attribute in model.inputs_preparation.profile_attributes.items():
        request[raw_profile_key(name)] = _unknown(attribute)
    return request


def _unknown(attribute: ProfileAttribute) -> tf.Tensor:
    return tf.constant([[""]]) if attribute.kind == "categorical" else tf.constant([[float("nan")]])


HISTORY = "history.csv"
EVENTS = "tensorboard"
CHECKPOINTS = "training"
"""What a training writes while it runs; the last is of an unfinished run only."""


class RunMetrics(TypedDict):
    """Result of one run, as metrics.json holds it.

    Attributes:
      run: the run folder.
      validation: metrics of the best epoch.
      epochs: epochs trained.
      selection_metric: the metric by which the best epoch was chosen.
      best_epoch: the epoch whose weights were kept, counted from 1.
      train_seconds: wall time of training and validation.
      train_samples: samples of the train part.
      trainable_weights: numbers that training changed.
      fingerprint: step -> SHA-256 of its manifest.
      code_version: name and number of the contract of a training, see `configs.contract_versions`.
      coverage: source of knowledge -> how many samples have a vector, see
        `trainer.training.knowledge_coverage`.
    """

    run: str
    validation: AnyMetrics
    epochs: int
    selection_metric: str
    best_epoch: int
    train_seconds: float
    train_samples: int
    trainable_weights: int
    fingerprint: dict[str, str]
    code_version: str
    coverage: NotRequired[dict[str, dict[str, Any]]]


class RunFolderError(CommandError):
    """A run folder is missing, incomplete, or does not fit the data."""


class RunFolder:
    """Paths and contents of one run folder.

    Attributes:
      path: the folder.
    """

    def __init__(self, path: str | Path):
        """Names the folder; it need not exist yet."""
        self.path = Path(path)

    @property
    def config(self) -> Path:
        """The resolved scenario."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """Result of the run; it is written last, so its presence means that the run is complete."""
        return self.path / "metrics.json"

    @property
    def history(self) -> Path:
        """One line per epoch."""
        return self.path / HISTORY

    @property
    def unfinished(self) -> Path:
        """Where a run in the making is, until it takes this place."""
        return self.path.with_name(f".{self.path.name}.unfinished")

    @property
    def is_complete(self) -> bool:
        """Whether a run has finished here."""
        return self.metrics.exists()

    @contextmanager
    def being_made(self) -> Iterator[None]:
        """Holds the place of the unfinished run, which one process at a time works on.

        Raises:
          CommandError: another process works on it.
        """
        with alone_in(self.unfinished):
            try:
                yield
            finally:
                (self.unfinished / LOCK_FILE).unlink(missing_ok=True)
                with suppress(OSError):  # It is not empty if there is something to go on from.
                    self.unfinished.rmdir()

    def write(
        self,
        scenario: Scenario,
        model: tfrs.models.Model,
        metrics: RunMetrics,
        history: Sequence[Mapping[str, float]],
    ) -> None:
        """Completes the unfinished run, which then takes the place of the old one, if any.

        Raises:
          RunFolderError: the folder holds something else than a run, or the weights cannot be
            written.
        """
        self.require_replaceable()
        unfinished = RunFolder(self.unfinished)
        unfinished.path.mkdir(parents=True, exist_ok=True)
        save_scenario(scenario, unfinished.config)
        try:
            _checkpoint(model).write(str(unfinished._weights))
        except tf.errors.OpError as error:
            free = free_space(unfinished.path)
            raise RunFolderError(
                f"{unfinished._weights} cannot be written ({reason_of(error)}; {free} are free "
                "there); once it can, the same command goes on from the last checkpoint"
            ) from error
        with unfinished.history.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(history[0]))
            writer.writeheader()
            writer.writerows(history)
        unfinished.metrics.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
        self.take_finished()
        (self.path / LOCK_FILE).unlink(missing_ok=True)
        shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)

    def take_finished(self) -> None:
        """Puts the unfinished run, which is complete now, in this place.

        An old run is moved aside first and removed last, so that a killed process leaves no half of
        one here; what it leaves beside goes with the next run.
        """
        old = self.path.with_name(f".{self.path.name}.replaced")
        shutil.rmtree(old, ignore_errors=True)
        if self.path.exists():
            self.path.rename(old)
        self.unfinished.rename(self.path)
        shutil.rmtree(old, ignore_errors=True)

    def require_replaceable(self) -> None:
        """Makes sure that a new run in this place deletes nothing but an old run.

        Raises:
          RunFolderError: the folder holds something else than a run, or has no name.
        """
        if self.path.name in ("", ".."):
            raise RunFolderError(
                f"run_dir '{self.path}' is no folder that a run can take the place of; name another"
            )
        if self.path.exists() and not self.is_complete and any(self.path.iterdir()):
            raise RunFolderError(
                f"{self.path} holds other files than a run's and would be replaced; "
                "choose another run_dir, or empty the folder"
            )

    def read_scenario(self) -> Scenario:
        """The run's resolved scenario.

        Raises:
          RunFolderError: the folder is not that of a finished run.
        """
        self._require_complete()
        return load_section(Scenario, self.config)

    def read_metrics(self) -> RunMetrics:
        """The run's result.

        Raises:
          RunFolderError: the folder is not that of a finished run.
        """
        self._require_complete()
        try:
            metrics = json.loads(self.metrics.read_text(encoding="utf-8"))
            if "fingerprint" not in metrics:
                raise ValueError("it is not the result of a training")
            return metrics
        except (TypeError, ValueError) as error:
            raise RunFolderError(f"{self.metrics} is damaged ({error}); train again") from error

    def read_history(self) -> list[dict[str, float]]:
        """One dictionary per epoch."""
        self._require_complete()
        try:
            with self.history.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            return [{key: float(value) for key, value in row.items()} for row in rows]
        except (OSError, TypeError, ValueError) as error:
            raise RunFolderError(f"{self.history} is damaged ({error}); train again") from error

    def load_model(
        self, read_tables: Callable[[Scenario], ModelTables] = read_model_tables
    ) -> tuple[Scenario, tfrs.models.Model]:
        """Builds the run's model over its data and restores the trained weights.

        Args:
          read_tables: where the tables come from, for callers that keep them in memory.

        Raises:
          RunFolderError: the run is incomplete, its checkpoint is damaged or does not fit its
            configuration, or its data has changed since.
          preprocessing.records.contract.DamagedRecords: a data file is missing or damaged.
        """
        scenario = self.read_scenario()
        expected = self.read_metrics()["fingerprint"]
        table_fingerprint = data_fingerprint(scenario)
        changed = sorted(
            step for step in table_fingerprint if table_fingerprint[step] != expected.get(step)
        )
        if changed:
            raise RunFolderError(
                f"{self.path} was trained on other data than {scenario.work_dir} now holds "
                f"(changed: {', '.join(changed)}); train again, or restore the data"
            )
        tables = read_tables(scenario)
        try:
            model = build_model(scenario, tables)
            create_weights(model)
            status = _checkpoint(model).read(str(self._weights))
        except (tf.errors.OpError, IndexError) as error:
            raise RunFolderError(
                f"{self._weights.parent} is damaged ({error}); train again"
            ) from error
        except (TypeError, ValueError) as error:
            raise self._outdated(reason_of(error)) from error
        try:
            status.assert_existing_objects_matched().expect_partial()
        except AssertionError as error:
            raise self._outdated("its checkpoint lacks weights of the model") from error
        return scenario, model

    def _outdated(self, reason: str) -> RunFolderError:
        return RunFolderError(
            f"{self.path} was trained by another version of the code, or its {self.config.name} "
            f"was changed ({reason}); train again"
        )

    @property
    def _weights(self) -> Path:
        return self.path / "checkpoint" / "weights"

    def _require_complete(self) -> None:
        require_there(self.path)
        if not self.is_complete:
            raise RunFolderError(
                f"{self.path} holds no finished run ({self.metrics.name} is missing); "
                f"{self.advice()}"
            )

    def advice(self) -> str:
        """What to do where a finished run was expected and there is none."""
        children = sorted(self.path.iterdir()) if self.path.is_dir() else []
        runs = [str(child) for child in children if RunFolder(child).is_complete]
        if not runs:
            return "run 'python -m trainer train' first"
        return "name one of the runs in it:\n" + "\n".join(f"  {run}" for run in runs)


def create_weights(model: tfrs.models.Model) -> None:
    """Runs the model on one made-up request, which creates all of its weights."""
    model(dummy_request(model))


def _checkpoint(model: tfrs.models.Model) -> tf.train.Checkpoint:
    return tf.train.Checkpoint(**model.checkpoint_parts())
