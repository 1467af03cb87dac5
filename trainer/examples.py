"""Examples of one part, read from TFRecords and prepared for a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError
from configs.effects import keys_of, value_at
from configs.loading import ConfigurationError, with_effective_options
from configs.scenario import Scenario
from configs.section import Role
from models.building import ModelTables
from models.inputs import USER_STATISTICS, InputPreparation
from preprocessing.records.contract import (
    CTR,
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    LABEL,
    LABEL_PREFIX,
    PROFILE_PREFIX,
    USER_FOLD,
    USER_ID,
    DamagedRecords,
    Feature,
    features_of,
)
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import CANDIDATE_MASK, as_text, parse_examples
from preprocessing.records.tfrecord_file import check_intact
from trainer.model_kinds import MODEL_KINDS, ModelKind
from trainer.tables import data_fingerprint, read_model_tables, settings_asked

PARALLEL_CALLS = 2
"""Batches that are parsed and prepared at the same time."""

_READ_BATCH = 2048
_RAW_FEATURES = (USER_ID, ITEM_ID, HISTORY_ITEM_ID, HISTORY_RATING, *USER_STATISTICS)
_HISTORY_ROWS = "rows of the whole history"
_KEPT_ASIDE = (USER_ID, ITEM_ID, _HISTORY_ROWS)


@dataclass(frozen=True)
class PreparedExamples:
    """The examples of one part, row by row: samples, lists of candidates, or chosen items.

    Attributes:
      features: prepared features by name, [n, ...] each.
      labels: float32; [n] for ranking models, or [n, 1 + tasks] with further tasks; [n, length] for
        re-rankers, 0 for padding; ones [n] for retrieval, whose examples are chosen items.
      user_ids: [n] strings.
      item_ids: [n] strings; [n, length] for re-rankers, "" for padding.
      history_rows: for retrieval int32 [n, longest history], catalogue rows of all earlier items
        that the example names, 0 for padding; None for other kinds.
    """

    features: Mapping[str, np.ndarray]
    labels: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray
    history_rows: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of examples."""
        return len(self.labels)

    def batches(self, size: int) -> Iterator[dict[str, tf.Tensor]]:
        """The features of so many examples at a time, in order."""
        for start in range(0, len(self), size):
            yield {
                name: tf.constant(values[start : start + size])
                for name, values in self.features.items()
            }

    def label_columns(self, tasks: Iterable[str] = ()) -> dict[str, np.ndarray]:
        """The labels of all samples, or of all candidates: "label" and every task -> [samples].

        Args:
          tasks: names of the further tasks in `labels`.
        """
        if CANDIDATE_MASK in self.features:
            return {LABEL: self.labels[self.features[CANDIDATE_MASK]]}
        columns = self.labels.reshape(len(self), -1).T
        return dict(zip([LABEL, *tasks], columns, strict=True))


def read_prepared_examples(
    scenario: Scenario,
    preparation: InputPreparation,
    part: str,
    kind: str = CTR,
    files: Sequence[str | Path] | None = None,
    limit: int | None = None,
) -> PreparedExamples:
    """Reads a part's TFRecords and runs the model's own preparation over them.

    Training examples name the fold of their user, so that no example sees its own label in its
    item's mean rating.

    Args:
      scenario: names the work directory, further labels and the user's profile.
      preparation: the parameter-free half of the model.
      part: train, validation or test.
      kind: of examples, which is that of the model: ctr, rerank or retrieval.
      files: GZIP TFRecord files in the place of the part's.
      limit: at most so many examples, the first ones.

    Raises:
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
      ConfigurationError: the data has no examples of this kind.
      CommandError: the part has no examples.
    """
    batches = list(streamed_examples(scenario, preparation, part, kind, files, limit))
    features = {
        name: _join([batch.features[name] for batch in batches], name)
        for name in batches[0].features
    }
    histories = [batch.history_rows for batch in batches if batch.history_rows is not None]
    return PreparedExamples(
        features=features,
        labels=np.concatenate([batch.labels for batch in batches]),
        user_ids=np.concatenate([batch.user_ids for batch in batches]),
        item_ids=np.concatenate([batch.item_ids for batch in batches]),
        history_rows=_join(histories, _HISTORY_ROWS) if histories else None,
    )


def streamed_examples(
    scenario: Scenario,
    preparation: InputPreparation,
    part: str,
    kind: str = CTR,
    files: Sequence[str | Path] | None = None,
    limit: int | None = None,
) -> Iterator[PreparedExamples]:
    """The same examples some thousand at a time, for parts that memory does not hold.

    Args and errors are those of `read_prepared_examples`.

    Yields:
      At least one batch, in the order of the files.
    """
    reader = ExampleReader(scenario, preparation, part, kind)
    paths = reader.shards() if files is None else [Path(file) for file in files]
    for path in paths:
        check_intact(path)
    dataset = tf.data.TFRecordDataset([str(path) for path in paths], compression_type="GZIP")
    if limit is not None:
        dataset = dataset.take(limit)
    dataset = dataset.batch(_READ_BATCH).map(
        reader.prepared, num_parallel_calls=PARALLEL_CALLS, deterministic=True
    )
    is_empty = True
    for columns in dataset.prefetch(1).with_options(input_options()):
        is_empty = False
        yield reader.examples({name: value.numpy() for name, value in columns.items()})
    if is_empty:
        raise no_examples(scenario, part, kind)


def require_kind(scenario: Scenario, kind: str) -> None:
    """Makes sure that a scenario's data has examples of a kind.

    Raises:
      ConfigurationError: it has not.
    """
    if kind not in scenario.data.examples:
        models = MODEL_KINDS[kind].models
        raise ConfigurationError(
            f"data.examples: {models} are trained on '{kind}' examples; there "
            f"are {', '.join(scenario.data.examples)} only. Add {kind} and run "
            "'python -m preprocessing examples' again"
        )


def no_examples(scenario: Scenario, part: str, kind: str) -> CommandError:
    """The error of a part without examples."""
    return CommandError(
        f"part '{part}' in {scenario.work_dir} has no {kind} examples; look at split and "
        "data.filter, and at the counts that 'python -m preprocessing examples' printed"
    )


class ExampleReader:
    """From serialized examples of one kind to what a model of that kind reads.

    Attributes:
      label_names: names of the labels, further tasks behind the first; none for retrieval.
    """

    def __init__(
        self, scenario: Scenario, preparation: InputPreparation, part: str, kind: str = CTR
    ):
        """Args are those of `read_prepared_examples`.

        Raises:
          ConfigurationError: the data has no examples of this kind.
        """
        require_kind(scenario, kind)
        self._scenario = scenario
        self._preparation = preparation
        self._part = part
        self._kind = MODEL_KINDS[kind]
        self._inputs, self._targets = _features_to_read(scenario, self._kind, part == "train")
        self.label_names = [
            feature.name
            for feature in self._targets
            if feature.name == LABEL or feature.name.startswith(LABEL_PREFIX)
        ]

    def shards(self) -> list[Path]:
        """The part's TFRecord files.

        Raises:
          preprocessing.records.contract.DamagedRecords: a file is missing.
        """
        return WorkDirectory(self._scenario.work_dir).examples.shards(self._part, self._kind.name)

    @tf.autograph.experimental.do_not_convert
    def prepared(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized examples [n] -> prepared features, ids and labels by name, [n, ...] each."""
        features = {feature.name: feature for feature in [*self._inputs, *self._targets]}
        # Lists of one width, so that they need no padding when batches are joined.
        width = self._scenario.data.rerank.length
        parsed = parse_examples(
            serialized,
            list(features.values()),
            widths={ITEM_ID: width, LABEL: width},
            longest_history=self._preparation.history_length if self._kind.has_labels else None,
        )
        for name in (HISTORY_ITEM_ID, HISTORY_RATING):
            parsed[name] = _not_without_width(parsed[name])
        columns = self._preparation(
            {feature.name: parsed[feature.name] for feature in self._inputs}
        )
        columns |= {feature.name: parsed[feature.name] for feature in self._targets}
        if not self._kind.has_labels:
            columns[_HISTORY_ROWS] = self._preparation.catalogue.rows(parsed[HISTORY_ITEM_ID])
        return columns

    @tf.autograph.experimental.do_not_convert
    def batch(self, serialized: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        """Serialized examples [n] -> features and labels as a model's training step takes them."""
        columns = self.prepared(serialized)
        labels = [columns.pop(name) for name in self.label_names]
        features = {name: value for name, value in columns.items() if name not in _KEPT_ASIDE}
        if not labels:
            return features, tf.ones([tf.shape(serialized)[0]])
        return features, labels[0] if len(labels) == 1 else tf.stack(labels, axis=1)

    def examples(self, columns: dict[str, np.ndarray]) -> PreparedExamples:
        """What `prepared` gives, as arrays.

        Raises:
          preprocessing.records.contract.DamagedRecords: an item of a retrieval example is in no
            table.
        """
        if not self._kind.has_labels and not columns["item_row"].all():
            raise DamagedRecords(
                f"{self.shards()[0].parent}: items that item_attributes.parquet lacks; run "
                "'python -m preprocessing examples --force' again"
            )
        return PreparedExamples(
            user_ids=as_text(columns.pop(USER_ID)),
            item_ids=as_text(columns.pop(ITEM_ID)),
            history_rows=columns.pop(_HISTORY_ROWS, None),
            labels=_labels(columns, self.label_names),
            features=columns,
        )


def input_options() -> tf.data.Options:
    """Options of all inputs: deterministic, without the autotuner, which ends short loops late."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.deterministic = True
    return options


def _features_to_read(
    scenario: Scenario, kind: ModelKind, with_folds: bool
) -> tuple[list[Feature], list[Feature]]:
    """What the preparation reads, and what is kept as it is: ids first, then labels."""
    by_name = {feature.name: feature for feature in features_of(kind.name, scenario.data)}
    inputs = [*_RAW_FEATURES, *([USER_FOLD] if with_folds else [])]
    profiles = scenario.data.profiles
    if profiles is not None and scenario.model.user_profile:
        inputs += [f"{PROFILE_PREFIX}{name}" for name in profiles.attributes]
    targets = [USER_ID, ITEM_ID]
    if kind.has_labels:
        targets.append(LABEL)
    if kind.has_tasks:
        targets += [f"{LABEL_PREFIX}{task}" for task in scenario.model.tasks]
    return [by_name[name] for name in inputs], [by_name[name] for name in targets]


def _not_without_width(lists: tf.Tensor) -> tf.Tensor:
    """Lists [n, width] with at least one column, of padding where all lists are empty."""
    return tf.pad(lists, [[0, 0], [0, tf.maximum(0, 1 - tf.shape(lists)[1])]])


def _labels(columns: dict[str, np.ndarray], targets: Sequence[str]) -> np.ndarray:
    """Takes the labels out of the columns: the label first, then further tasks."""
    labels = [columns.pop(name) for name in targets if name in columns]
    if not labels:
        return np.ones(len(columns["item_row"]), np.float32)
    return labels[0] if len(labels) == 1 else np.stack(labels, axis=1)


def _join(batches: list[np.ndarray], name: str) -> np.ndarray:
    """Joins batches, each as wide as the longest list in it; histories are padded in front."""
    if batches[0].ndim < 2:
        return np.concatenate(batches)
    in_front = "history_" in name
    width = max(batch.shape[1] for batch in batches)
    missing = [width - batch.shape[1] for batch in batches]
    return np.concatenate(
        [
            np.pad(
                batch,
                [(0, 0), (count, 0) if in_front else (0, count), *[(0, 0)] * (batch.ndim - 2)],
            )
            for batch, count in zip(batches, missing, strict=True)
        ]
    )


_KEPT_PREPARATIONS = 3


class ExampleStore:
    """Reads tables and prepares examples once for all models that need the same.

    Prepared examples depend on no trained weight, so runs that differ in backbone, seed or training
    settings share them, as long as their backbones are of one kind. Those of the latest
    `_KEPT_PREPARATIONS` are kept, so that memory does not grow with the arms of an experiment.
    """

    def __init__(self) -> None:
        """Creates an empty store."""
        self._tables: dict[str, ModelTables] = {}
        self._examples: dict[str, dict[str, PreparedExamples]] = {}
        self._fingerprint: dict[tuple[str, str], str] = {}

    def tables(self, scenario: Scenario) -> ModelTables:
        """Catalogue, knowledge and profiles of a scenario; see `read_model_tables` for errors."""
        self._forget_what_changed(scenario)
        key = json.dumps([_data_key(scenario), scenario.model.user_profile])
        if key not in self._tables:
            self._tables[key] = read_model_tables(scenario)
        return self._tables[key]

    def examples(self, scenario: Scenario, model: tfrs.models.Model, part: str) -> PreparedExamples:
        """The prepared examples of a part, for a model built from this scenario."""
        self._forget_what_changed(scenario)
        key = json.dumps([_data_key(scenario), model.kind, _prepared_with(scenario, model)])
        parts = self._examples.pop(key, {})
        while len(self._examples) >= _KEPT_PREPARATIONS:
            del self._examples[next(iter(self._examples))]
        self._examples[key] = parts
        if part not in parts:
            parts[part] = read_prepared_examples(
                scenario, model.inputs_preparation, part, model.kind
            )
        return parts[part]

    def _forget_what_changed(self, scenario: Scenario) -> None:
        """Empties the store where a step was run since something was read."""
        try:
            fingerprint = data_fingerprint(scenario)
        except FileNotFoundError:
            return  # What reads it says which step is to be run.
        for step, checksum in fingerprint.items():
            if self._fingerprint.setdefault((scenario.work_dir, step), checksum) != checksum:
                self._tables.clear()
                self._examples.clear()
                self._fingerprint = {(scenario.work_dir, step): checksum}


def _data_key(scenario: Scenario) -> list[object]:
    return [scenario.work_dir, settings_asked(scenario)]


def _prepared_with(scenario: Scenario, model: tfrs.models.Model) -> dict[str, object]:
    """What decides, for one kind of model over the same data, what prepared features are.

    Which sources have rows among them is asked of the model: an adapter that takes the place of
    the item's id reads none.
    """
    settings = with_effective_options(scenario).model_dump(mode="json")
    return {
        "sources": [] if model.adapter is None else list(model.adapter.sources),
        **{key: value_at(settings, key) for key in keys_of(Scenario, Role.INPUTS)},
        **{key: list(value_at(settings, key)) for key in keys_of(Scenario, Role.INPUT_NAMES)},
    }
