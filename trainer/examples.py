"""Examples of one part, read from TFRecords and prepared once for all epochs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.inputs import USER_STATISTICS, InputPreparation
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset

_READ_BATCH = 2048
_RAW_FEATURES = ("user_id", "item_id", "history_item_id", "history_rating", *USER_STATISTICS)


@dataclass(frozen=True)
class PreparedExamples:
    """The samples of one part, row by row.

    Attributes:
      features: prepared features by name, [n, ...] each.
      labels: float32 [n].
      user_ids: [n] strings.
      item_ids: [n] strings.
    """

    features: Mapping[str, np.ndarray]
    labels: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)


def read_prepared_examples(
    scenario: Scenario, preparation: InputPreparation, part: str
) -> PreparedExamples:
    """Reads a part's TFRecords and runs the model's own preparation over them.

    Training samples name the fold of their user, so that no sample sees its own label in its item's
    mean rating.

    Args:
      scenario: names the work directory.
      preparation: the parameter-free half of the model.
      part: train, validation or test.

    Raises:
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
      ConfigurationError: the data has no CTR examples.
      CommandError: the part has no samples.
    """
    if "ctr" not in scenario.data.examples:
        kinds = ", ".join(scenario.data.examples)
        raise ConfigurationError(
            f"data.examples: ranking models are trained on 'ctr' examples; there are {kinds} only. "
            "Add ctr and run 'python -m preprocessing examples' again"
        )
    names = (*_RAW_FEATURES, "user_fold") if part == "train" else _RAW_FEATURES
    files = WorkDirectory(scenario.work_dir).examples.shards(part)
    prepare = tf.function(preparation.__call__, reduce_retracing=True)
    batches: list[dict[str, np.ndarray]] = []
    for parsed in example_dataset(files, _READ_BATCH):
        prepared = prepare({name: parsed[name] for name in names})
        columns = {name: parsed[name] for name in ("label", "user_id", "item_id")}
        batches.append({name: value.numpy() for name, value in {**prepared, **columns}.items()})
    if not batches:
        raise CommandError(
            f"part '{part}' in {scenario.work_dir} has no samples; look at split and data.filter, "
            "and at the counts that 'python -m preprocessing examples' printed"
        )
    joined = {
        name: _join([batch[name] for batch in batches], is_history=name.startswith("history_"))
        for name in batches[0]
    }
    return PreparedExamples(
        labels=joined.pop("label"),
        user_ids=joined.pop("user_id").astype(str),
        item_ids=joined.pop("item_id").astype(str),
        features=joined,
    )


def _join(batches: list[np.ndarray], is_history: bool) -> np.ndarray:
    """Joins batches; histories, each as long as the longest of its batch, are padded in front."""
    if not is_history:
        return np.concatenate(batches)
    width = max(1, *(batch.shape[1] for batch in batches))
    padded = [np.pad(batch, [(0, 0), (width - batch.shape[1], 0)]) for batch in batches]
    return np.concatenate(padded)


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
