"""Evaluation of finished runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import tensorflow_recommenders as tfrs

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.building import example_kind
from trainer.examples import PreparedExamples
from trainer.prediction import predict
from trainer.predictions import Predictions
from trainer.preparation import ExampleStore
from trainer.run_folder import RunFolder


def predict_run(run: str | Path, part: str, store: ExampleStore | None = None) -> Predictions:
    """What a finished run's best weights say about a part; see `read_run` for errors.

    Raises:
      trainer.prediction.NotFiniteError: a score is infinite or NaN.
    """
    _, model, examples = read_run(run, part, store)
    return predict(model, examples)


def read_run(
    run: str | Path, part: str, store: ExampleStore | None = None
) -> tuple[Scenario, tfrs.models.Model, PreparedExamples]:
    """A finished run's scenario and model, and the examples of a part as it reads them.

    Raises:
      trainer.run_folder.RunFolderError: the run is incomplete or its data has changed.
      preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
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
