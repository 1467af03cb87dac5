"""Evaluation of trained runs: scores to a file, metrics and slices from it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import tensorflow as tf
import tensorflow_recommenders as tfrs

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.building import example_kind
from models.retrieving import RetrievalModel
from trainer.evaluation.part_metrics import PartMetrics, part_metrics
from trainer.evaluation.part_scores import PartScores, build_slices
from trainer.evaluation.score_table import ScoreTable, write_scores
from trainer.evaluation.slices import features_read
from trainer.examples import ExampleStore, PreparedExamples, streamed_examples
from trainer.metrics import RETRIEVAL_CUTOFFS as CUTOFFS
from trainer.model_kinds import predictor_of
from trainer.predictions import Predictions
from trainer.run_folder import RunFolder

_BATCH = 1024


class FactorizedTopK:
    """What `tfrs.metrics.FactorizedTopK` says, over all items of the catalogue.

    It is `recall_at_k` by another program; the two may differ where scores are equal.
    """

    def __init__(self, model: RetrievalModel):
        """Starts without examples.

        Args:
          model: a trained model.
        """
        self._ks = [k for k in CUTOFFS if k <= model.num_items]
        self._metric = model.factorized_top_k(self._ks)
        self._vectors = tf.function(model.user_vectors, reduce_retracing=True, autograph=False)
        self._items = tf.constant(model.all_item_vectors())

    def add(self, examples: PreparedExamples) -> None:
        """Adds examples."""
        for batch in examples.batches(_BATCH):
            rows = batch["item_row"]
            chosen = tf.gather(self._items, rows)
            self._metric.update_state(self._vectors(batch), chosen, true_candidate_ids=rows)

    def shares(self) -> dict[str, float]:
        """Share of examples whose item is among the first k, by k as text.

        A k that is larger than the catalogue is left out.
        """
        result = zip(self._ks, self._metric.result(), strict=True)
        return {str(k): float(share) for k, share in result}


def run_scores(
    scenario: Scenario,
    model: tfrs.models.Model,
    part: str,
    watch: Callable[[PreparedExamples], None] = lambda examples: None,
) -> PartScores:
    """What a run's model says about a part that memory need not hold.

    Args:
      scenario: the run's.
      model: its model.
      part: train, validation or test.
      watch: also receives the examples of every batch.
    """

    def watched() -> Iterator[PreparedExamples]:
        for examples in streamed_examples(scenario, model.inputs_preparation, part, model.kind):
            watch(examples)
            yield examples

    predictions = predictor_of(model).in_batches(watched())
    return PartScores(scenario, part, model.kind, [*scenario.model.tasks], predictions)


def evaluate_scores_of(
    scores: PartScores, slices: Sequence[str] = (), predictions: Path | None = None
) -> PartMetrics:
    """Evaluates a part in constant memory.

    Args:
      scores: of the part; they are read.
      slices: names of slices (`trainer.evaluation.slices.chosen_slices`).
      predictions: where the file of scores is kept; it is temporary if left out.

    Raises:
      CommandError: the samples are of one class.
      preprocessing.records.contract.DamagedRecords: a file is missing or damaged.
      trainer.model_kinds.NotFiniteError: a score is infinite or NaN.
    """
    options = scores.scenario.evaluation
    with tempfile.TemporaryDirectory(prefix="evaluation_") as folder:
        path = predictions or Path(folder) / "scores.parquet"
        write_scores(path, scores.tables(features_read(slices)))
        with ScoreTable(path, options.memory_megabytes, options.threads, folder) as table:
            divisions = build_slices(slices, table, scores.scenario)
            return part_metrics(table, scores.kind, options, divisions, scores.tasks)


def predict_run(run: str | Path, part: str, store: ExampleStore | None = None) -> Predictions:
    """What a finished run's best weights say about a part; see `read_run` for errors.

    Raises:
      trainer.model_kinds.NotFiniteError: a score is infinite or NaN.
    """
    _, model, examples = read_run(run, part, store)
    return predictor_of(model).predict(examples)


def read_run(
    run: str | Path, part: str, store: ExampleStore | None = None
) -> tuple[Scenario, tfrs.models.Model, PreparedExamples]:
    """A finished run's scenario and model, and the examples of a part as it reads them.

    Raises:
      trainer.run_folder.RunFolderError: the run is incomplete or its data has changed.
      preprocessing.records.contract.DamagedRecords: a data file is missing or damaged.
    """
    store = ExampleStore() if store is None else store
    scenario, model = RunFolder(run).load_model(store.tables)
    return scenario, model, store.examples(scenario, model, part)


def require_one_kind(runs: Iterable[str | Path]) -> None:
    """Makes sure that runs can be compared, before any of them is evaluated.

    Raises:
      CommandError: the runs are of different kinds of models.
      trainer.run_folder.RunFolderError: a run is incomplete.
    """
    kinds = {str(run): kind_of(RunFolder(run).read_scenario()) for run in runs}
    if len(set(kinds.values())) > 1:
        listed = "\n".join(f"  {run}: {kind}" for run, kind in kinds.items())
        raise CommandError(
            "the runs are of different kinds of models, which have no metric on the same "
            f"examples:\n{listed}\nCompare runs of one kind"
        )


def kind_of(scenario: Scenario) -> str:
    """The kind of the scenario's model, and so of its examples: ctr, rerank or retrieval.

    Raises:
      ConfigurationError: there is no such model.
    """
    try:
        return example_kind(scenario.model.backbone)
    except ValueError as error:
        raise ConfigurationError(str(error)) from error
