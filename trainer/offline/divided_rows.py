"""Which rows of predictions in memory belong to which slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trainer.offline.part_scores import PartScores
from trainer.offline.score_table import ROW, ScoreTable
from trainer.offline.slice_building import build_slices
from trainer.offline.slice_names import features_read
from trainer.offline.slices import MISSING


def divided_rows(scores: PartScores, slices: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Divides the rows of a part.

    Args:
      scores: predictions of the whole part in one piece.
      slices: names of slices (`trainer.offline.slice_names.chosen_slices`).

    Returns:
      Slice -> group -> bool [rows of the predictions' table].

    Raises:
      preprocessing.records.errors.DamagedRecords: a file is missing or damaged.
    """
    (part,) = scores.tables(features_read(slices))
    options = scores.scenario.evaluation
    with ScoreTable(part, options.memory_megabytes, options.threads) as table:
        divisions = build_slices(slices, table, scores.scenario)
        masks = [np.zeros([len(division.groups), table.num_rows], bool) for division in divisions]
        columns = dict.fromkeys([ROW, *(division.column for division in divisions)])
        for batch in table.batches(list(columns)):
            for division, mask in zip(divisions, masks, strict=True):
                members = division.members(batch)
                mask[members.groups, batch[ROW][members.rows]] = True
    return {
        division.name: {
            group: rows
            for group, rows in zip(division.groups, mask, strict=True)
            if group != MISSING or rows.any()
        }
        for division, mask in zip(divisions, masks, strict=True)
    }
