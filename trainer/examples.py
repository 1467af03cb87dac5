"""Examples of one part, read from TFRecords and prepared once for all epochs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.inputs import USER_STATISTICS, InputPreparation
from preprocessing.records.contract import (
    CTR,
    HISTORY_ITEM_ID,
    HISTORY_RATING,
    ITEM_ID,
    LABEL,
    LABEL_PREFIX,
    PROFILE_PREFIX,
    RERANK,
    RETRIEVAL,
    USER_FOLD,
    USER_ID,
    Feature,
)
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.example_features import features_of
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import CANDIDATE_MASK, example_dataset

_READ_BATCH = 2048
_RAW_FEATURES = (USER_ID, ITEM_ID, HISTORY_ITEM_ID, HISTORY_RATING, *USER_STATISTICS)
_HISTORY_ROWS = "rows of the whole history"
_MODELS_OF_KIND = {CTR: "ranking models", RERANK: "re-rankers", RETRIEVAL: "retrieval models"}


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
    scenario: Scenario, preparation: InputPreparation, part: str, kind: str = CTR
) -> PreparedExamples:
    """Reads a part's TFRecords and runs the model's own preparation over them.

    Training examples name the fold of their user, so that no example sees its own label in its
    item's mean rating.

    Args:
      scenario: names the work directory, further labels and the user's profile.
      preparation: the parameter-free half of the model.
      part: train, validation or test.
      kind: of examples, which is that of the model: ctr, rerank or retrieval.

    Raises:
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
      ConfigurationError: the data has no examples of this kind.
      CommandError: the part has no examples.
    """
    if kind not in scenario.data.examples:
        raise ConfigurationError(
            f"data.examples: {_MODELS_OF_KIND[kind]} are trained on '{kind}' examples; there are "
            f"{', '.join(scenario.data.examples)} only. Add {kind} and run "
            "'python -m preprocessing examples' again"
        )
    inputs, targets = _features_to_read(scenario, kind, with_folds=part == "train")
    # Lists of one width, so that they need no padding when batches are joined.
    width = scenario.data.rerank.length
    files = WorkDirectory(scenario.work_dir).examples.shards(part, kind)
    prepare = tf.function(preparation.__call__, reduce_retracing=True)
    batches: list[dict[str, np.ndarray]] = []
    for parsed in example_dataset(
        files,
        _READ_BATCH,
        list({feature.name: feature for feature in [*inputs, *targets]}.values()),
        widths={ITEM_ID: width, LABEL: width},
    ):
        batch = prepare({feature.name: parsed[feature.name] for feature in inputs})
        batch |= {feature.name: parsed[feature.name] for feature in targets}
        if kind == RETRIEVAL:
            batch[_HISTORY_ROWS] = preparation.catalogue.rows(parsed[HISTORY_ITEM_ID])
        batches.append({name: value.numpy() for name, value in batch.items()})
    if not batches:
        raise CommandError(
            f"part '{part}' in {scenario.work_dir} has no {kind} examples; look at split and "
            "data.filter, and at the counts that 'python -m preprocessing examples' printed"
        )
    joined = {name: _join([batch[name] for batch in batches], name) for name in batches[0]}
    if kind == RETRIEVAL and not joined["item_row"].all():
        raise DamagedRecords(
            f"{files[0].parent}: items that item_attributes.parquet lacks; run "
            "'python -m preprocessing examples --force' again"
        )
    return PreparedExamples(
        user_ids=joined.pop(USER_ID).astype(str),
        item_ids=joined.pop(ITEM_ID).astype(str),
        history_rows=joined.pop(_HISTORY_ROWS, None),
        labels=_labels(joined, [feature.name for feature in targets]),
        features=joined,
    )


def _features_to_read(
    scenario: Scenario, kind: str, with_folds: bool
) -> tuple[list[Feature], list[Feature]]:
    """What the preparation reads, and what is kept as it is: ids first, then labels."""
    by_name = {feature.name: feature for feature in features_of(kind, scenario.data)}
    inputs = [*_RAW_FEATURES, *([USER_FOLD] if with_folds else [])]
    profiles = scenario.data.profiles
    if profiles is not None and scenario.model.user_profile:
        inputs += [f"{PROFILE_PREFIX}{name}" for name in profiles.attributes]
    targets = [USER_ID, ITEM_ID]
    if kind != RETRIEVAL:
        targets.append(LABEL)
    if kind == CTR:
        targets += [f"{LABEL_PREFIX}{task}" for task in scenario.model.tasks]
    return [by_name[name] for name in inputs], [by_name[name] for name in targets]


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
    width = max(int(in_front), *(batch.shape[1] for batch in batches))
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


def training_batches(examples: PreparedExamples, batch_size: int, seed: int) -> tf.data.Dataset:
    """Shuffled batches of (features, labels) for one epoch per iteration, reshuffled every epoch.

    Rows are gathered from memory a batch at a time, which is far faster than shuffling single rows.
    """
    features = {name: tf.constant(value) for name, value in examples.features.items()}
    labels = tf.constant(examples.labels)
    count = len(examples)

    def gather(rows: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        return {name: tf.gather(value, rows) for name, value in features.items()}, tf.gather(
            labels, rows
        )

    dataset = tf.data.Dataset.range(count).shuffle(count, seed=seed, reshuffle_each_iteration=True)
    dataset = dataset.batch(batch_size).map(gather, num_parallel_calls=1, deterministic=True)
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.prefetch(2).with_options(options)
