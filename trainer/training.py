"""Training one model of any kind, from prepared data to the run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from configs.command_line import CommandError, say
from configs.contract_versions import contract_version
from configs.effects import training_settings
from configs.scenario import Scenario
from configs.training import Training
from models.building import AnyModel, build_model
from models.knowledge import KnowledgeRecords
from models.layer_support import precision, published_initial_values
from preprocessing.records.contract import LABEL
from preprocessing.records.coverage import (
    IdCoverage,
    knowledge_refusal,
    tell_knowledge_coverage,
)
from trainer.distribution import Distribution, distribution_of
from trainer.examples import ExampleStore, PreparedExamples
from trainer.model_kinds import MODEL_KINDS, UntrainableError, predictor_of, reason_of
from trainer.optimizers import build_optimizer
from trainer.run_folder import (
    EVENTS,
    HISTORY,
    RunFolder,
    RunMetrics,
    create_weights,
)
from trainer.run_identity import Files, default_run_folder, training_identity
from trainer.tables import data_fingerprint, require_named_inputs, require_unchanged
from trainer.tracking import dotted_settings
from trainer.training_checkpoints import (
    TrainingCheckpoints,
    TrainingState,
    restorable_random_numbers,
)
from trainer.training_input import TrainingExamples, part_examples, training_examples
from trainer.training_loop import (
    EpochRow,
    EventLog,
    HistoryFile,
    ProgressBar,
    TrainingLoop,
    best_metrics,
)


def knowledge_coverage(
    scenario: Scenario,
    knowledge: Mapping[str, KnowledgeRecords],
    examples: PreparedExamples,
    tell: bool = True,
) -> dict[str, dict[str, Any]]:
    """Counts the samples that have a vector of each source; warns where they are few.

    Args:
      scenario: names the files and what counts as few.
      knowledge: source -> its records.
      examples: the samples, or lists of candidates.
      tell: whether people are told.

    Returns:
      Source -> `IdCoverage.as_dictionary`.

    Raises:
      CommandError: no sample has a vector of a source.
    """
    counts: dict[str, dict[str, int]] = {}
    shares = {}
    for source, records in knowledge.items():
        entity = scenario.knowledge.answers[source].entity
        if entity not in counts:
            counts[entity] = _counts(examples.item_ids if entity == "item" else examples.user_ids)
        coverage = IdCoverage.measure(entity, counts[entity], records.entity_ids, "samples")
        if coverage.is_empty:
            raise CommandError(knowledge_refusal(scenario, source, coverage))
        shares[source] = coverage.as_dictionary()
        if tell:
            tell_knowledge_coverage(scenario, source, shares[source], "train")
    return shares


def _counts(ids: np.ndarray) -> dict[str, int]:
    """Samples by id; "" pads lists of candidates."""
    values, numbers = np.unique(ids, return_counts=True)
    return {
        value: number
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True)
        if value
    }


_FEATURE_BATCH = 4096


def train(
    scenario: Scenario,
    store: ExampleStore | None = None,
    progress: bool = True,
    files: Files | None = None,
    max_steps: int | None = None,
    validation_limit: int | None = None,
    on_epoch: Sequence[Callable[[EpochRow], None]] = (),
) -> RunMetrics:
    """Trains the scenario's model and writes its run folder.

    The weights of the epoch with the best validation result are kept, by the selection metric of
    the model's kind: AUC of ranking models, NDCG@10 of re-rankers, recall@10 of retrieval models,
    or by `training.selection`. The test part is not read.

    A training that was interrupted goes on from its last checkpoint, if configuration, data and
    code are the same, and ends with the weights that an unbroken one has.

    Args:
      scenario: the resolved scenario.
      store: prepared examples shared between runs; a private one when left out.
      progress: whether a progress bar is shown on stderr.
      files: "train" and "validation" -> GZIP TFRecord files in the place of the work directory's.
      max_steps: steps of all epochs, at most; training ends with a validation.
      validation_limit: at most so many validation examples, the first ones.
      on_epoch: called with every row of history.csv, those of an interrupted training first.

    Returns:
      What metrics.json of the run folder holds.

    Raises:
      preprocessing.records.contract.DamagedRecords: a data file is missing or damaged.
      trainer.model_kinds.UntrainableError: there is no such model, or options do not go together.
      ConfigurationError: the data was built with other settings or from other files than the
        scenario's, or there are no such devices.
      ValueError: `max_steps` is less than 1.
      CommandError: all samples of a part have one label, none has knowledge of a source, another
        process trains the same run or changed the data meanwhile, or the disk is full.
      trainer.model_kinds.NotFiniteError: the loss, a score or a weight became infinite or NaN.
      trainer.run_folder.RunFolderError: the run folder holds something else than a run.
    """
    if max_steps is not None and max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, or None. Received: {max_steps}")
    folder = default_run_folder(scenario)
    folder.require_replaceable()
    require_named_inputs(scenario)
    fingerprint = data_fingerprint(scenario)
    store = ExampleStore() if store is None else store
    files = files or {}
    training = scenario.training
    distribution = distribution_of(training)
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(training.seed)
    is_chief = distribution.is_chief
    with distribution.scope(), folder.being_made() if is_chief else nullcontext():
        model = _built(scenario, store, distribution)
        examples = training_examples(
            scenario, model, store, distribution.worker, files.get("train")
        )
        validation = part_examples(
            scenario, model, store, "validation", files.get("validation"), validation_limit
        )
        _require_trainable(scenario, model, examples, validation)
        coverage = knowledge_coverage(
            scenario,
            store.tables(scenario).knowledge,
            examples.sample() if examples.is_whole else validation,
            tell=is_chief,
        )
        if scenario.model.initializer == "published":
            published_initial_values(model, training.seed)
        if model.inputs_preparation.num_match_features:
            model.set_match_statistics(*match_statistics(model, examples.sample()))
        total_steps = examples.input.steps * training.epochs
        _compile(model, training, total_steps if max_steps is None else min(total_steps, max_steps))
        require_unchanged(scenario, fingerprint)
        checkpoints = TrainingCheckpoints(
            folder.unfinished,
            {
                **training_identity(scenario, files, max_steps, validation_limit),
                "devices": [distribution.worker.count, distribution.worker.replicas],
            },
            model,
            distribution,
        )
        predictor = predictor_of(model)
        loop = TrainingLoop(
            model,
            training,
            examples.input,
            lambda: predictor.predict(validation),
            checkpoints,
            distribution,
        )
        with (
            _watched(scenario, folder, examples, progress)
            if is_chief
            else nullcontext(_Watchers()) as watchers
        ):
            state = loop.run(
                max_steps,
                callbacks=watchers.callbacks,
                on_epoch=[
                    *watchers.on_epoch,
                    *on_epoch,
                    lambda _row: require_unchanged(scenario, fingerprint),
                ],
                on_resume=watchers.on_resume,
            )
        result = RunMetrics(
            run=str(folder.path),
            validation=best_metrics(state),
            epochs=len(state.rows),
            selection_metric=state.selection_metric,
            best_epoch=state.best_epoch,
            train_seconds=round(state.seconds, 3),
            train_samples=examples.input.num_examples,
            trainable_weights=int(sum(np.prod(weight.shape) for weight in model.trainable_weights)),
            fingerprint=fingerprint,
            code_version=contract_version("training"),
            coverage=coverage,
        )
        with distribution.kept_or_thrown_away(folder.path) as path:
            RunFolder(path).write(scenario, model, result, state.rows)
    return result


def _built(scenario: Scenario, store: ExampleStore, distribution: Distribution) -> AnyModel:
    tables = store.tables(scenario)
    try:
        with precision(scenario.training.precision), restorable_random_numbers():
            model = build_model(scenario, tables)
            distribution.call(lambda: create_weights(model))
    except (TypeError, ValueError) as error:
        raise UntrainableError(
            f"scenario '{scenario.name}', model.backbone '{scenario.model.backbone}': the model "
            f"cannot be built: {reason_of(error)}"
        ) from error
    return model


def _compile(model: AnyModel, training: Training, total_steps: int) -> None:
    model.compile(
        optimizer=build_optimizer(training, model, total_steps),
        jit_compile=training.xla,
        steps_per_execution=training.steps_per_execution,
    )


@dataclass(frozen=True)
class _Watchers:
    """Callbacks that are told of steps, and those that are told of epochs."""

    callbacks: Sequence[tf.keras.callbacks.Callback] = ()
    on_epoch: Sequence[Callable[[EpochRow], None]] = ()
    on_resume: Callable[[TrainingState], None] = lambda state: None


@contextmanager
def _watched(
    scenario: Scenario, folder: RunFolder, examples: TrainingExamples, progress: bool
) -> Iterator[_Watchers]:
    """History file, progress bar, event files and messages of a training."""
    training = scenario.training
    watchers: list[EventLog | ProgressBar] = []
    if training.tensorboard:
        settings = dict(dotted_settings(training_settings(scenario)))
        watchers.append(EventLog(folder.unfinished / EVENTS, settings))
    if progress:
        watchers.append(ProgressBar(folder.path.name, examples.input.steps, training.epochs))
    try:
        yield _Watchers(
            [*watchers],
            [HistoryFile(folder.unfinished / HISTORY), *(each.on_epoch_row for each in watchers)],
            lambda state: say(
                f"{folder.path}: goes on after step {state.step:,} of epoch {state.epoch + 1}"
            ),
        )
    finally:
        for watcher in watchers:
            watcher.close()


def require_selection(scenario: Scenario, kind: str) -> None:
    """Makes sure that the best epoch of a model of this kind can be chosen as is asked for.

    Raises:
      trainer.model_kinds.UntrainableError: it cannot.
    """
    if not MODEL_KINDS[kind].has_selection and scenario.training.selection != "auto":
        raise UntrainableError(
            f"training.selection: '{scenario.training.selection}' is for ranking models; "
            f"'{scenario.model.backbone}' is selected by its own metric, which 'auto' names"
        )


def _require_trainable(
    scenario: Scenario, model: AnyModel, examples: TrainingExamples, validation: PreparedExamples
) -> None:
    require_selection(scenario, model.kind)
    if not MODEL_KINDS[model.kind].has_labels:
        return
    parts = {"train": examples.sample()} if examples.is_whole else {}
    parts["validation"] = validation
    for part, part_values in parts.items():
        _require_both_classes(scenario, part_values, part)


def _require_both_classes(scenario: Scenario, examples: PreparedExamples, part: str) -> None:
    """Checks the label and further tasks; lists are judged by their candidates alone."""
    for name, labels in examples.label_columns(scenario.model.tasks).items():
        if labels.min() == labels.max():
            suffix = "" if name == LABEL else f" of task '{name}'"
            raise CommandError(
                f"all {len(labels):,} samples of part '{part}' in {scenario.work_dir} have the "
                f"label {labels[0]:g}{suffix}, and AUC needs both; look at data.positive_rating, "
                "data.labels, data.negatives and split.fractions"
            )


def match_statistics(model: AnyModel, examples: PreparedExamples) -> tuple[np.ndarray, np.ndarray]:
    """Statistics by which the model standardises its match features.

    Those of a learned match, which prepared examples do not hold, are computed with the kernel
    parameters that the model has now. In lists only candidates count, not padding, and nowhere
    candidates of which a source knows nothing (NaN).

    Returns:
      Mean and standard deviation, float32 [features] each; 0 and 0 where nothing is known.
    """
    match = examples.features.get("match")
    if match is None:
        match = _computed_match(model, examples)
    mask = examples.features.get("candidate_mask")
    if mask is not None:
        match = match[mask]
    masked = np.ma.masked_invalid(match)
    mean = masked.mean(axis=0, dtype=np.float64).filled(0.0)
    deviation = masked.std(axis=0, dtype=np.float64).filled(0.0)
    return mean.astype(np.float32), deviation.astype(np.float32)


def _computed_match(model: AnyModel, examples: PreparedExamples) -> np.ndarray:
    features = tf.function(
        lambda batch: model.prepared(batch)["match"], reduce_retracing=True, autograph=False
    )
    return np.concatenate([features(batch).numpy() for batch in examples.batches(_FEATURE_BATCH)])
