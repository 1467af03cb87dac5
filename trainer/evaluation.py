"""Evaluation of finished runs: metrics of a part, prediction files, paired comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from configs.command_line import CommandError
from trainer.bootstrap import AucDifference, bootstrap_auc_difference
from trainer.metrics import Metrics, evaluate_scores
from trainer.prediction import predict
from trainer.preparation import ExampleStore
from trainer.run_folder import RunFolder


@dataclass(frozen=True)
class Predictions:
    """A run's scores of one part.

    Attributes:
      user_ids: [n] strings.
      item_ids: [n] strings.
      labels: [n], 0 or 1.
      scores: [n], probabilities.
    """

    user_ids: np.ndarray
    item_ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    def metrics(self) -> Metrics:
        """AUC, LogLoss, GAUC and the number of samples."""
        return evaluate_scores(self.labels, self.scores, self.user_ids)

    def write(self, path: Path) -> None:
        """Writes a Parquet file with user_id, item_id, label and score."""
        table = pa.table(
            {
                "user_id": self.user_ids,
                "item_id": self.item_ids,
                "label": self.labels,
                "score": self.scores,
            }
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.unfinished")
        pq.write_table(table, unfinished)
        unfinished.rename(path)


def predict_run(run: str | Path, part: str, store: ExampleStore | None = None) -> Predictions:
    """Scores a part with a finished run's best weights.

    Raises:
      trainer.run_folder.RunFolderError: the run is incomplete or its data has changed.
      preprocessing.records.errors.DamagedRecords: a data file is missing or damaged.
    """
    store = ExampleStore() if store is None else store
    scenario, model = RunFolder(run).load_model(store.tables)
    examples = store.examples(scenario, model, part)
    return Predictions(
        examples.user_ids, examples.item_ids, examples.labels, predict(model, examples)
    )


def compare_predictions(
    baseline: Sequence[Predictions],
    candidate: Sequence[Predictions],
    resamples: int,
    seed: int,
) -> AucDifference:
    """Paired comparison of two models, each with one or several seeds, on the same samples.

    Raises:
      CommandError: the predictions are not of the same samples.
    """
    first = baseline[0]
    if len(set(first.labels.tolist())) < 2:
        raise CommandError("AUC needs samples of both classes; this part has one class only")
    for other in [*baseline, *candidate]:
        same = len(other.labels) == len(first.labels) and all(
            np.array_equal(getattr(other, name), getattr(first, name))
            for name in ("user_ids", "item_ids", "labels")
        )
        if not same:
            raise CommandError(
                "the runs were evaluated on different samples; "
                "compare runs of one work directory and split"
            )
    return bootstrap_auc_difference(
        first.labels,
        first.user_ids,
        np.stack([predictions.scores for predictions in baseline]),
        np.stack([predictions.scores for predictions in candidate]),
        resamples=resamples,
        seed=seed,
    )
