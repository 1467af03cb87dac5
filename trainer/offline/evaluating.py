"""Evaluation of a part: scores to a file, metrics and slices from it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from trainer.offline.part_metrics import PartMetrics, part_metrics
from trainer.offline.part_scores import PartScores
from trainer.offline.score_file import write_scores
from trainer.offline.score_table import ScoreTable
from trainer.offline.slice_building import build_slices
from trainer.offline.slice_names import features_read


def evaluate_scores_of(
    scores: PartScores, slices: Sequence[str] = (), predictions: Path | None = None
) -> PartMetrics:
    """Evaluates a part in constant memory.

    Args:
      scores: of the part; they are read.
      slices: names of slices (`trainer.offline.slice_names.chosen_slices`).
      predictions: where the file of scores is kept; it is temporary if left out.

    Raises:
      CommandError: the samples are of one class.
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
      trainer.prediction.NotFiniteError: a score is infinite or NaN.
    """
    options = scores.scenario.evaluation
    with tempfile.TemporaryDirectory(prefix="evaluation_") as folder:
        path = predictions or Path(folder) / "scores.parquet"
        write_scores(path, scores.tables(features_read(slices)))
        with ScoreTable(path, options.memory_megabytes, options.threads, folder) as table:
            divisions = build_slices(slices, table, scores.scenario)
            return part_metrics(table, scores.kind, options, divisions, scores.tasks)
