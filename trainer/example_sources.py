"""Where training examples come from: memory or files, of the work directory or named ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.scenario import Scenario
from models.building import AnyModel
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import WorkDirectory
from trainer.examples import (
    ExampleReader,
    PreparedExamples,
    no_examples,
    read_prepared_examples,
)
from trainer.preparation import ExampleStore
from trainer.training_input import MemoryInput, StreamInput, TrainingInput, Worker

_SAMPLED = 200_000

Files = Sequence[str | Path]


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
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
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
