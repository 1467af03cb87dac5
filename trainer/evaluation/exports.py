"""Scores and ranks of an exported SavedModel, from serialized examples as a server gets."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError, require_there
from configs.scenario import Scenario
from configs.serving import ALWAYS_TAKEN
from preprocessing.records.contract import (
    CTR,
    HISTORY_ITEM_ID,
    ITEM_ID,
    LABEL,
    LABEL_PREFIX,
    NO_ID,
    RERANK,
    RETRIEVAL,
    USER_ID,
    DamagedRecords,
    Feature,
    features_of,
)
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import as_text, parse_examples
from preprocessing.records.tfrecord_file import check_intact
from trainer.evaluation.part_scores import PartScores
from trainer.metrics import rank_positives
from trainer.model_kinds import MODEL_KINDS, finite, reason_of
from trainer.predictions import (
    SCORE,
    ListPredictions,
    Predictions,
    RetrievalPredictions,
    SamplePredictions,
)
from trainer.run_folder import RunFolder
from trainer.tables import read_model_tables, require_named_inputs

_SAVED_MODEL = "saved_model.pb"


def saved_model_in(folder: str | Path) -> Path | None:
    """The SavedModel of a folder: the folder itself, or its version folder of highest number.

    Returns:
      None for a run folder.

    Raises:
      ConfigurationError: there is no such folder.
      CommandError: the folder holds neither.
    """
    path = Path(folder)
    require_there(path)
    if (path / _SAVED_MODEL).is_file():
        return path
    if RunFolder(path).config.is_file():
        return None
    versions = [
        version
        for version in (path.iterdir() if path.is_dir() else ())
        if version.name.isascii()
        and version.name.isdecimal()
        and (version / _SAVED_MODEL).is_file()
    ]
    if not versions:
        raise CommandError(
            f"{path} holds no finished run (config.yaml, metrics.json) and no SavedModel "
            f"({_SAVED_MODEL}, or folders named by version numbers that have one); "
            f"{RunFolder(path).advice()}"
        )
    return max(versions, key=lambda version: int(version.name))


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
      preprocessing.records.contract.DamagedRecords: a data file is missing or damaged.
    """
    require_named_inputs(scenario, sources=())
    model = load_saved_model(path)
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
    if not MODEL_KINDS[kind].has_labels:
        predict = ExportedRetrieval(model, scenario)
    else:
        predict = _ExportedScoring(model, scenario, kind, tasks)
    files = _files(scenario, part, kind)
    candidates = scenario.data.rerank.length if MODEL_KINDS[kind].has_lists else 1
    batches = _example_batches(files, max(1, ALWAYS_TAKEN // candidates))
    return PartScores(scenario, part, kind, tasks, _predictions(predict, batches, files, path))


def load_saved_model(path: Path) -> Any:
    """The SavedModel of a version folder.

    Raises:
      CommandError: TensorFlow cannot load it.
    """
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


def _example_batches(files: Sequence[Path], rows: int) -> tf.data.Dataset:
    dataset = tf.data.TFRecordDataset([str(file) for file in files], compression_type="GZIP")
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.batch(rows).prefetch(1).with_options(options)


def _predictions(
    predict: Callable[[tf.Tensor], Predictions],
    batches: Iterable[tf.Tensor],
    files: Sequence[Path],
    path: Path,
) -> Iterator[Predictions]:
    is_empty = True
    for serialized in batches:
        is_empty = False
        try:
            yield predict(serialized)
        except tf.errors.InvalidArgumentError as error:
            match = _PARSING.search(error.message)
            reason = match[0] if match else reason_of(error)
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
        self._has_lists = MODEL_KINDS[kind].has_lists
        self._tasks = tasks
        features = {feature.name: feature for feature in features_of(kind, scenario.data)}
        for task in tasks:
            if f"{LABEL_PREFIX}{task}" not in features:
                raise ConfigurationError(
                    f"data.labels: the model scores the task '{task}', of which the data has no "
                    "label; use the configuration of the run that was exported"
                )
        labels = [LABEL, *(f"{LABEL_PREFIX}{task}" for task in tasks)]
        self._features: list[Feature] = [features[name] for name in (USER_ID, ITEM_ID, *labels)]

    def __call__(self, serialized: tf.Tensor) -> Predictions:
        outputs = self._model.signatures[_SIGNATURE](examples=serialized)
        scores = {name: finite(values.numpy()) for name, values in outputs.items()}
        parsed = parse_examples(serialized, self._features)
        columns = {name: values.numpy() for name, values in parsed.items()}
        users, items = as_text(columns[USER_ID]), as_text(columns[ITEM_ID])
        if self._has_lists:
            return ListPredictions(users, items, columns[LABEL], scores[SCORE])
        return SamplePredictions(
            users,
            items,
            columns[LABEL],
            scores[SCORE],
            task_labels={task: columns[f"{LABEL_PREFIX}{task}"] for task in self._tasks},
            task_scores={task: scores[f"{SCORE}_{task}"] for task in self._tasks},
        )


VECTOR_SIGNATURES = ("user_vectors", "item_vectors")

_VECTOR = "vector"


class ExportedRetrieval:
    """From serialized examples to ranks among all items of the catalogue."""

    def __init__(self, model: Any, scenario: Scenario):
        """Computes the vectors of all items.

        Args:
          model: the loaded SavedModel.
          scenario: that of the exported run, which names its catalogue.

        Raises:
          ConfigurationError: the data lacks a feature that the model reads.
          preprocessing.records.contract.DamagedRecords: a data file is missing or damaged.
        """
        # A signature alone does not keep the model's variables alive.
        self._model = model
        features = {feature.name: feature for feature in features_of(RETRIEVAL, scenario.data)}
        _, inputs = model.signatures["user_vectors"].structured_input_signature
        missing = sorted(set(inputs) - set(features))
        if missing:
            raise ConfigurationError(
                f"data.profiles: the model reads {', '.join(missing)}, which the examples lack; "
                "use the configuration of the run that was exported"
            )
        self._inputs = inputs
        self._features = [features[name] for name in {USER_ID, ITEM_ID, HISTORY_ITEM_ID, *inputs}]
        items = list(read_model_tables(scenario).catalogue.item_ids)
        _, item_inputs = model.signatures["item_vectors"].structured_input_signature
        self._row_of = {item.encode(): row for row, item in enumerate(items, start=1)}
        self._item_vectors = finite(
            np.concatenate(
                [
                    model.signatures["item_vectors"](
                        item_id=_as_asked(
                            tf.constant(items[start : start + ALWAYS_TAKEN]), item_inputs[ITEM_ID]
                        )
                    )[_VECTOR].numpy()
                    for start in range(0, len(items), ALWAYS_TAKEN)
                ]
            )
        )

    def __call__(self, serialized: tf.Tensor) -> RetrievalPredictions:
        """Ranks of the examples' items.

        Raises:
          preprocessing.records.contract.DamagedRecords: an item is in no table.
          trainer.model_kinds.NotFiniteError: a user's vector is infinite or NaN.
        """
        parsed = parse_examples(serialized, self._features)
        outputs = self._model.signatures["user_vectors"](
            **{name: _as_asked(parsed[name], asked) for name, asked in self._inputs.items()}
        )
        positives = self._rows(parsed[ITEM_ID].numpy())
        if not positives.all():
            raise DamagedRecords(
                "an example's item is not in item_attributes.parquet; run 'python -m preprocessing "
                "examples --force' again"
            )
        among_all, among_new = rank_positives(
            finite(outputs[_VECTOR].numpy()),
            self._item_vectors,
            positives,
            self._rows(parsed[HISTORY_ITEM_ID].numpy()),
        )
        return RetrievalPredictions(
            as_text(parsed[USER_ID].numpy()),
            as_text(parsed[ITEM_ID].numpy()),
            among_all,
            among_new,
        )

    def _rows(self, items: np.ndarray) -> np.ndarray:
        """Catalogue rows of raw ids, 0 for unknown ones and padding: bytes [...] -> int32 [...]."""
        row_of = self._row_of
        rows = np.fromiter((row_of.get(item, 0) for item in items.ravel()), np.int32, items.size)
        return rows.reshape(items.shape)


def _as_asked(values: tf.Tensor, asked: tf.TensorSpec) -> tf.Tensor:
    """Ids of examples, which are strings, as whole numbers where the model asks for these.

    Others, which such a model cannot know, become -1.
    """
    if values.dtype != tf.string or asked.dtype != tf.int64:
        return values
    is_number = tf.strings.regex_full_match(values, "[0-9]{1,18}")
    return tf.strings.to_number(tf.where(is_number, values, str(NO_ID)), tf.int64)
