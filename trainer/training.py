"""Training one model of any kind: epochs, early stopping on validation, and the run folder."""

from __future__ import annotations

import time

import numpy as np
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.modelling import Training
from configs.scenario import Scenario
from models.building import build_model
from models.initialization import published_initial_values
from preprocessing.records.contract import LABEL, RETRIEVAL
from trainer.best_epoch import BestEpoch
from trainer.examples import PreparedExamples, training_batches
from trainer.match_statistics import match_statistics
from trainer.model_errors import reason_of
from trainer.prediction import NotFiniteError, predict
from trainer.preparation import ExampleStore
from trainer.progress_bar import ProgressBar
from trainer.run_folder import RunMetrics, create_weights, training_code_version
from trainer.run_name import default_run_folder
from trainer.tables import fingerprint


def train(
    scenario: Scenario, store: ExampleStore | None = None, progress: bool = True
) -> RunMetrics:
    """Trains the scenario's model and writes its run folder.

    The weights of the epoch with the best validation result are kept, by the selection metric of
    the model's kind: AUC of ranking models, NDCG@10 of re-rankers, recall@10 of retrieval models.
    The test part is not read.

    Args:
      scenario: the resolved scenario.
      store: prepared examples shared between runs; a private one when left out.
      progress: whether a progress bar is shown on stderr.

    Returns:
      What metrics.json of the run folder holds.

    Raises:
      preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
      ConfigurationError: there is no such model, or its options do not go together.
      CommandError: all samples of a part have one label.
      NotFiniteError: the loss, a score or a weight became infinite or NaN.
      trainer.run_folder.RunFolderError: the run folder holds something else than a run.
    """
    folder = default_run_folder(scenario)
    folder.require_replaceable()
    store = ExampleStore() if store is None else store
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(scenario.training.seed)
    tables = store.tables(scenario)
    try:
        model = build_model(scenario, tables)
        create_weights(model)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"scenario '{scenario.name}', model.backbone '{scenario.model.backbone}': the model "
            f"cannot be built: {reason_of(error)}"
        ) from error
    training_examples = store.examples(scenario, model, "train")
    validation_examples = store.examples(scenario, model, "validation")
    if model.kind != RETRIEVAL:
        for part, examples in (("train", training_examples), ("validation", validation_examples)):
            _require_both_classes(scenario, examples, part)
    if scenario.model.initializer == "published":
        published_initial_values(model, scenario.training.seed)
    if model.inputs_preparation.num_match_features:
        model.set_match_statistics(*match_statistics(model, training_examples))
    started = time.perf_counter()
    steps = -(-len(training_examples) // scenario.training.batch_size)
    model.compile(
        optimizer=tf.keras.optimizers.Adam(
            _learning_rate(scenario.training, steps), epsilon=1e-8, jit_compile=False
        )
    )
    history = BestEpoch(lambda: predict(model, validation_examples), scenario.training.patience)
    callbacks: list[tf.keras.callbacks.Callback] = [history]
    if progress:
        callbacks.append(ProgressBar(folder.path.name, steps, scenario.training.epochs, history))
    model.fit(
        training_batches(training_examples, scenario.training.batch_size, scenario.training.seed),
        epochs=scenario.training.epochs,
        callbacks=callbacks,
        verbose=0,
    )
    history.restore_best(model)
    if history.best is None:
        raise NotFiniteError("training ended before the first validation")
    result = RunMetrics(
        run=str(folder.path),
        validation=history.best,
        epochs=len(history.rows),
        selection_metric=history.selection_metric,
        best_epoch=history.best_epoch,
        train_seconds=round(time.perf_counter() - started, 3),
        train_samples=len(training_examples),
        trainable_weights=int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
        fingerprint=fingerprint(scenario),
        code_version=training_code_version(),
    )
    folder.write(scenario, model, result, history.rows)
    return result


def _learning_rate(
    training: Training, steps_per_epoch: int
) -> float | tf.keras.optimizers.schedules.LearningRateSchedule:
    if training.schedule == "constant":
        return training.learning_rate
    return tf.keras.optimizers.schedules.CosineDecay(
        training.learning_rate, decay_steps=steps_per_epoch * training.epochs
    )


def _require_both_classes(scenario: Scenario, examples: PreparedExamples, part: str) -> None:
    """Checks the label and further tasks; lists are judged by their candidates alone."""
    for name, labels in examples.label_columns(scenario.model.tasks).items():
        if labels.min() == labels.max():
            of_task = "" if name == LABEL else f" of task '{name}'"
            raise CommandError(
                f"all {len(labels):,} samples of part '{part}' in {scenario.work_dir} have the "
                f"label {labels[0]:g}{of_task}, and AUC needs both; look at data.positive_rating, "
                "data.labels, data.negatives and split.fractions"
            )
