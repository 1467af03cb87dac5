"""Scores of an exported SavedModel, from the same serialized examples that a server is sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.records.contract import (
    CTR,
    ITEM_ID,
    LABEL,
    LABEL_PREFIX,
    RERANK,
    RETRIEVAL,
    USER_ID,
    Feature,
)
from preprocessing.records.example_features import features_of
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import parse_examples
from preprocessing.records.tfrecord_file import check_intact
from trainer.list_predictions import ListPredictions
from trainer.model_errors import reason_of
from trainer.offline.export_retrieval import VECTOR_SIGNATURES, ExportedRetrieval
from trainer.offline.part_scores import PartScores
from trainer.offline.sample_sums import SCORE
from trainer.prediction import finite
from trainer.predictions import Predictions
from trainer.sample_predictions import SamplePredictions
from trainer.tables import require_named_inputs

_BATCH = 2048
_SIGNATURE = "predict_examples"
_PARSING = re.compile(r"Feature: .*\.")
"""What TensorFlow says about a record that it cannot parse, amid much else."""


def export_scores(path: Path, scenario: Scenario, part: str) -> PartScores:
    """What a SavedModel says about a part that memory need not hold.

    Args:
      path: the version folder.
      scenario: names the data; for retrieval it must be that of the exported run, whose catalogue
        is searched.
      part: train, validation or test.

    Raises:
      CommandError: TensorFlow cannot load the folder, it has other signatures than those of
        `python -m serving export`, or the part has no examples.
      ConfigurationError: the data lacks the kind of examples or a feature that the model reads, or
        was built from other files than the scenario names.
      preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
    """
    require_named_inputs(scenario, sources=())
    model = _load(path)
    if _SIGNATURE in model.signatures:
        outputs = model.signatures[_SIGNATURE].structured_outputs
        kind = CTR if outputs[SCORE].shape.rank == 1 else RERANK
        # Names are sorted, so that the tasks of two exports stand in one order.
        tasks = sorted(name.removeprefix(f"{SCORE}_") for name in outputs if name != SCORE)
    elif set(VECTOR_SIGNATURES) <= set(model.signatures):
        kind, tasks = RETRIEVAL, []
    else:
        raise CommandError(
            f"{path}: a model is judged by its signature '{_SIGNATURE}', or by "
            f"{' and '.join(VECTOR_SIGNATURES)}, as 'python -m serving export' writes them. There "
            f"are: {', '.join(sorted(model.signatures)) or 'none'}"
        )
    predict: Callable[[tf.Tensor], Predictions]
    if kind == RETRIEVAL:
        predict = ExportedRetrieval(model, scenario)
    else:
        predict = _ExportedScoring(model, scenario, kind, tasks)
    files = _files(scenario, part, kind)
    return PartScores(scenario, part, kind, tasks, _predictions(predict, files, path))


def _load(path: Path) -> Any:
    try:
        return tf.saved_model.load(str(path))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise CommandError(f"{path}: TensorFlow cannot load the SavedModel ({error})") from error


def _files(scenario: Scenario, part: str, kind: str) -> list[Path]:
    if kind not in scenario.data.examples:
        raise ConfigurationError(
            f"data.examples: the model is judged on '{kind}' examples; there are "
            f"{', '.join(scenario.data.examples)} only"
        )
    files = WorkDirectory(scenario.work_dir).examples.shards(part, kind)
    for file in files:
        check_intact(file)
    return files


def _predictions(
    predict: Callable[[tf.Tensor], Predictions], files: Sequence[Path], path: Path
) -> Iterator[Predictions]:
    dataset = tf.data.TFRecordDataset([str(file) for file in files], compression_type="GZIP")
    options = tf.data.Options()
    options.autotune.enabled = False
    is_empty = True
    for serialized in dataset.batch(_BATCH).prefetch(1).with_options(options):
        is_empty = False
        try:
            yield predict(serialized)
        except tf.errors.InvalidArgumentError as error:
            found = _PARSING.search(error.message)
            reason = found[0] if found else reason_of(error)
            raise CommandError(
                f"{path}: the model cannot read the examples of {files[0].parent} ({reason}); was "
                "it exported from a run over this data?"
            ) from error
    if is_empty:
        raise CommandError(f"{files[0].parent} has no examples")


class _ExportedScoring:
    """A ranking model or re-ranker."""

    def __init__(self, model: Any, scenario: Scenario, kind: str, tasks: Sequence[str]):
        # A signature alone does not keep the model's variables alive.
        self._model = model
        self._is_list = kind == RERANK
        self._tasks = tasks
        known = {feature.name: feature for feature in features_of(kind, scenario.data)}
        for task in tasks:
            if f"{LABEL_PREFIX}{task}" not in known:
                raise ConfigurationError(
                    f"data.labels: the model scores the task '{task}', of which the data has no "
                    "label; use the configuration of the run that was exported"
                )
        labels = [LABEL, *(f"{LABEL_PREFIX}{task}" for task in tasks)]
        self._features: list[Feature] = [known[name] for name in (USER_ID, ITEM_ID, *labels)]

    def __call__(self, serialized: tf.Tensor) -> Predictions:
        outputs = self._model.signatures[_SIGNATURE](examples=serialized)
        scores = {name: finite(values.numpy()) for name, values in outputs.items()}
        parsed = parse_examples(serialized, self._features)
        columns = {name: values.numpy() for name, values in parsed.items()}
        users, items = columns[USER_ID].astype(str), columns[ITEM_ID].astype(str)
        if self._is_list:
            return ListPredictions(users, items, columns[LABEL], scores[SCORE])
        return SamplePredictions(
            users,
            items,
            columns[LABEL],
            scores[SCORE],
            task_labels={task: columns[f"{LABEL_PREFIX}{task}"] for task in self._tasks},
            task_scores={task: scores[f"{SCORE}_{task}"] for task in self._tasks},
        )
