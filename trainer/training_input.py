"""What a model is trained on: batches from memory or files, the same whenever asked for."""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from typing_extensions import override

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.building import AnyModel
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import check_intact
from trainer.examples import (
    PARALLEL_CALLS,
    ExampleReader,
    ExampleStore,
    PreparedExamples,
    input_options,
    no_examples,
    read_prepared_examples,
)

_SAMPLED = 200_000

Files = Sequence[str | Path]


class TrainingInput(abc.ABC):
    """Batches of (features, labels)."""

    def __init__(self, batches: _Batches, seed: int):
        """Says how many there are.

        Args:
          batches: the worker's share of them.
          seed: of the order of the examples.
        """
        self._batches = batches
        self._seed = seed

    @property
    def num_examples(self) -> int:
        """Examples of an epoch."""
        return self._batches.num_examples

    @property
    def steps(self) -> int:
        """Batches of an epoch."""
        return self._batches.steps

    @abc.abstractmethod
    def epoch(self, number: int, first_step: int = 0) -> tf.data.Dataset:
        """The batches of an epoch.

        Args:
          number: of the epoch, from 0.
          first_step: batches that are left out, because they have been trained on.
        """


@dataclass(frozen=True)
class TrainingExamples:
    """The training part.

    Attributes:
      input: its batches.
      sample: gives examples for statistics: all of them, or the first ones of a stream.
      is_whole: whether the sample is the whole part.
    """

    input: TrainingInput
    sample: Callable[[], PreparedExamples]
    is_whole: bool


def training_examples(
    scenario: Scenario,
    model: AnyModel,
    store: ExampleStore,
    worker: Worker,
    files: Files | None = None,
) -> TrainingExamples:
    """The training part as `training.input` says.

    Args:
      scenario: names the work directory and how it is read.
      model: built from it.
      store: keeps what is prepared in memory.
      worker: the share of this process.
      files: in the place of the work directory's.

    Raises:
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
      ConfigurationError: the data has no examples of the model's kind, or too few files for the
        workers.
      CommandError: the part has no examples.
    """
    options = scenario.training
    if options.input == "memory":
        examples = part_examples(scenario, model, store, "train", files)
        memory = MemoryInput(examples, options.batch_size, options.seed, worker)
        return TrainingExamples(memory, lambda: examples, is_whole=True)
    preparation = model.inputs_preparation
    reader = ExampleReader(scenario, preparation, "train", model.kind)
    paths = reader.shards() if files is None else [Path(file) for file in files]
    stream = StreamInput(
        reader,
        paths,
        options.batch_size,
        options.seed,
        options.shuffle_buffer,
        _counted(scenario, model.kind) if files is None else None,
        worker,
        own_files=options.sharding == "files",
    )
    if not stream.num_examples:
        raise no_examples(scenario, "train", model.kind)
    return TrainingExamples(
        stream,
        lambda: read_prepared_examples(
            scenario, preparation, "train", model.kind, paths, limit=_SAMPLED
        ),
        is_whole=False,
    )


def part_examples(
    scenario: Scenario,
    model: AnyModel,
    store: ExampleStore,
    part: str,
    files: Files | None = None,
    limit: int | None = None,
) -> PreparedExamples:
    """A part in memory; what comes from named files, or is cut off, is not kept in the store."""
    if files is None and limit is None:
        return store.examples(scenario, model, part)
    return read_prepared_examples(
        scenario, model.inputs_preparation, part, model.kind, files, limit
    )


def _counted(scenario: Scenario, kind: str) -> int:
    """Training examples, as the manifest says."""
    manifest = WorkDirectory(scenario.work_dir).examples.manifest
    try:
        contents = json.loads(manifest.read_text(encoding="utf-8"))
        return int(contents["counts"]["examples"][kind]["train"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedRecords(
            f"{manifest}: cannot be read ({error!r}); run 'python -m preprocessing examples' again"
        ) from error


_PREFETCHED_BATCHES = 2
_FILES_AT_A_TIME = 8
_RECORDS_OF_A_FILE = 256
_READ_BYTES = 1 << 20
_COUNTED_TOGETHER = 1024


@dataclass(frozen=True)
class Worker:
    """Which share of every batch a process trains on.

    Attributes:
      index: of the worker, from 0.
      count: of all workers.
      replicas: devices of all workers together, as many on each of them.
    """

    index: int = 0
    count: int = 1
    replicas: int = 1


class MemoryInput(TrainingInput):
    """Prepared examples in memory: rows of a batch are gathered at once."""

    def __init__(
        self,
        examples: PreparedExamples,
        batch_size: int,
        seed: int,
        worker: Worker | None = None,
    ):
        """Keeps the examples.

        Args:
          examples: all training examples.
          batch_size: examples of a batch over all workers.
          seed: of the order.
          worker: the share of this process; everything when left out.
        """
        super().__init__(_Batches(len(examples), batch_size, worker or Worker()), seed)
        with tf.device("CPU"):  # A GPU has better use for its memory.
            self._features = {name: tf.constant(value) for name, value in examples.features.items()}
            self._labels = tf.constant(examples.labels)

    @override
    def epoch(self, number: int, first_step: int = 0) -> tf.data.Dataset:
        order = np.random.default_rng([self._seed, number]).permutation(self.num_examples)
        rows = tf.data.Dataset.from_tensor_slices(order).batch(self._batches.batch_size)
        rows = self._batches.of(rows, first_step)

        def gathered(chosen: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            features = {name: tf.gather(value, chosen) for name, value in self._features.items()}
            return features, tf.gather(self._labels, chosen)

        batches = rows.map(gathered, num_parallel_calls=1, deterministic=True)
        return batches.prefetch(_PREFETCHED_BATCHES).with_options(input_options())


class StreamInput(TrainingInput):
    """Examples read from their files in every epoch; memory holds some shuffle buffers only.

    Files are opened in random order and read in turn, some at a time; so many examples as the
    buffer holds are put into random order together. All of it moves blocks of examples, never
    single ones, which would cost more than parsing them.

    Workers read all files and keep their rows of every batch, or each reads files of its own, other
    ones in every epoch. Its rows are then those of its files, and one whose files hold less than
    its share begins with them again, so that all make the same number of steps.
    """

    def __init__(
        self,
        reader: ExampleReader,
        files: Sequence[Path],
        batch_size: int,
        seed: int,
        shuffle_buffer: int,
        num_examples: int | None = None,
        worker: Worker | None = None,
        own_files: bool = False,
    ):
        """Checks the files.

        Args:
          reader: from serialized examples to batches.
          files: GZIP TFRecord files.
          batch_size: examples of a batch over all workers.
          seed: of the order of files and examples.
          shuffle_buffer: examples that are shuffled together.
          num_examples: examples of all files, where it is known; counted when left out.
          worker: the share of this process; everything when left out.
          own_files: whether the files are dealt to the workers.

        Raises:
          preprocessing.records.contract.DamagedRecords: a file is missing or cut off.
          ConfigurationError: there are fewer files than workers to deal them to.
        """
        for path in files:
            check_intact(path)
        self._reader = reader
        self._files = [str(path) for path in files]
        self._shuffle_buffer = shuffle_buffer
        count = _count(self._files) if num_examples is None else num_examples
        super().__init__(_Batches(count, batch_size, worker or Worker()), seed)
        self._own_files = own_files
        workers = self._batches.worker.count
        if own_files and len(files) < workers:
            raise ConfigurationError(
                f"training.sharding=files: {len(files)} files of training examples are too few for "
                f"{workers} workers; set training.sharding=batches"
            )

    @override
    def epoch(self, number: int, first_step: int = 0) -> tf.data.Dataset:
        random = np.random.default_rng([self._seed, number])
        files = [self._files[index] for index in random.permutation(len(self._files))]
        if self._own_files:
            files = files[self._batches.worker.index :: self._batches.worker.count]
        open_files = min(_FILES_AT_A_TIME, len(files))
        records = tf.data.Dataset.from_tensor_slices(files).interleave(
            _blocks,
            cycle_length=open_files,
            num_parallel_calls=min(PARALLEL_CALLS, open_files),
            deterministic=True,
        )
        seed = int(random.integers(1 << 31))
        buffers = records.rebatch(self._shuffle_buffer).enumerate()
        shuffled = buffers.map(lambda index, buffer: _shuffled(buffer, seed, index))
        if self._own_files:
            again = shuffled.repeat()  # Not before: a buffer would mix the end with the beginning.
            own = self._batches.rest(again.rebatch(self._batches.own_size), first_step)
        else:
            own = self._batches.of(shuffled.rebatch(self._batches.batch_size), first_step)
        batches = own.map(self._reader.batch, num_parallel_calls=PARALLEL_CALLS, deterministic=True)
        return batches.prefetch(_PREFETCHED_BATCHES).with_options(input_options())


@dataclass(frozen=True)
class _Batches:
    """How many batches there are, and which part of them is a worker's."""

    num_examples: int
    batch_size: int
    worker: Worker

    @property
    def steps(self) -> int:
        """A last batch with fewer rows than devices is left out; the next epoch draws others."""
        whole, rest = divmod(self.num_examples, self.batch_size)
        return whole + (rest >= self.worker.replicas)

    @property
    def own_size(self) -> int:
        """The worker's rows of a whole batch."""
        return len(range(self.worker.index, self.batch_size, self.worker.count))

    def rest(self, batches: tf.data.Dataset, first_step: int) -> tf.data.Dataset:
        """The batches of an epoch from one on."""
        return batches.skip(first_step).take(self.steps - first_step)

    def of(self, batches: tf.data.Dataset, first_step: int) -> tf.data.Dataset:
        """The worker's share of all batches from one on."""
        batches = self.rest(batches, first_step)
        if self.worker.count == 1:
            return batches
        index, count = self.worker.index, self.worker.count
        return batches.map(lambda batch: batch[index::count])


def _blocks(path: tf.Tensor) -> tf.data.Dataset:
    records = tf.data.TFRecordDataset(path, compression_type="GZIP", buffer_size=_READ_BYTES)
    return records.batch(_RECORDS_OF_A_FILE)


def _shuffled(buffer: tf.Tensor, seed: int, index: tf.Tensor) -> tf.Tensor:
    """The elements of a buffer in an order that follows from the seed and the buffer's index."""
    draws = tf.random.stateless_uniform(tf.shape(buffer), [tf.cast(seed, tf.int64), index])
    return tf.gather(buffer, tf.argsort(draws))


def _count(files: Sequence[str]) -> int:
    records = tf.data.TFRecordDataset(list(files), compression_type="GZIP")
    batches = records.batch(_COUNTED_TOGETHER)
    return int(
        batches.reduce(
            tf.constant(0, tf.int64), lambda count, batch: count + tf.size(batch, tf.int64)
        )
    )
