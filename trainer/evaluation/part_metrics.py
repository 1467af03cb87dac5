"""All metrics of a part and of its slices, from a table of scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.command_line import CommandError
from configs.experiment import Evaluation
from preprocessing.records.contract import LABEL, USER_ID
from trainer.evaluation.metric_sums import (
    LIST_ID,
    SCORE,
    RankSums,
    ReliabilityBin,
    ReliabilityCurve,
    SampleSums,
    calibration_error,
    shuffled_order,
)
from trainer.evaluation.score_table import ROW, ScoreTable
from trainer.evaluation.slices import MISSING, Slice, WholePart
from trainer.metrics import rank_values
from trainer.model_kinds import MODEL_KINDS
from trainer.predictions import RANK_COLUMNS, ranks_of

Metrics = dict[str, Any]


@dataclass(frozen=True)
class PartMetrics:
    """What an evaluation finds.

    Attributes:
      metrics: of the whole part; those of further tasks under `tasks`.
      slices: slice -> group -> metrics, `n`, `share` of the part, whether it is `sparse`, and
        `reason` where a metric is None.
      reliability: the reliability curve; empty for retrieval.
    """

    metrics: Metrics
    slices: dict[str, dict[str, Metrics]] = field(default_factory=dict)
    reliability: list[ReliabilityBin] = field(default_factory=list)


def part_metrics(
    table: ScoreTable,
    kind: str,
    options: Evaluation,
    slices: Sequence[Slice] = (),
    tasks: Sequence[str] = (),
) -> PartMetrics:
    """Evaluates the scores of one part in constant memory.

    Args:
      table: columns user_id, item_id, label and score, and label_<task> and score_<task>; list_id
        of re-rankers; of retrieval `RANK_COLUMNS`.
      kind: of the examples: ctr, rerank or retrieval.
      options: bins and bounds.
      slices: built over this table.
      tasks: further labels, judged as a whole only.

    Raises:
      CommandError: the samples are of one class.
    """
    divisions = [WholePart(), *slices]
    if not MODEL_KINDS[kind].has_labels:
        ranked = _rank_sums(table, divisions)
        return PartMetrics(ranked[0].metrics(0), _by_slice(ranked[1:], options, table.num_rows))
    sums, curve = _sample_sums(table, divisions, kind, options)
    metrics = _whole_metrics(sums[0], curve)
    if tasks:
        metrics["tasks"] = {task: _task_metrics(table, kind, options, task) for task in tasks}
    return PartMetrics(metrics, _by_slice(sums[1:], options, table.num_rows), curve.bins())


def _rank_sums(table: ScoreTable, divisions: Sequence[Slice]) -> list[RankSums]:
    sums = [RankSums(division) for division in divisions]
    for batch in table.batches([*RANK_COLUMNS, *_columns_of(divisions)]):
        values = rank_values(*ranks_of(batch))
        for of_division in sums:
            of_division.add(batch, values)
    return sums


def _sample_sums(
    table: ScoreTable,
    divisions: Sequence[Slice],
    kind: str,
    options: Evaluation,
    suffix: str = "",
) -> tuple[list[SampleSums], ReliabilityCurve]:
    """Both passes over the samples; the first division is the whole part.

    Raises:
      CommandError: the samples are of one class.
    """
    has_lists = MODEL_KINDS[kind].has_lists
    sums = [SampleSums(division, has_lists) for division in divisions]
    curve = ReliabilityCurve(table.num_rows, options.calibration_bins)
    columns = {LABEL: LABEL + suffix, SCORE: SCORE + suffix}
    columns |= {name: name for name in _columns_of(divisions)}
    for batch in table.batches(columns, order_by=[SCORE]):
        ties = [of_division.add_ascending(batch) for of_division in sums]
        curve.add(ties[0])
    curve.add([of_division.end_ascending() for of_division in sums][0])
    if sums[0].missing_class(0):
        raise CommandError("AUC needs samples of both classes")
    columns |= {USER_ID: USER_ID, ROW: ROW}
    if has_lists:
        columns[LIST_ID] = LIST_ID
    for batch in table.batches(columns, whole=USER_ID):
        # Lists to re-rank are shuffled when they are made; the samples of a user are not.
        tie_order = batch[ROW] if has_lists else shuffled_order(batch[ROW])
        best_first = np.lexsort((tie_order, -batch[SCORE]))
        ranked = {name: values[best_first] for name, values in batch.items()}
        for of_division in sums:
            of_division.add_users(ranked)
    return sums, curve


def _whole_metrics(whole: SampleSums, curve: ReliabilityCurve) -> Metrics:
    metrics = whole.metrics(0)
    if metrics["gauc"] is None:
        # The AUC of chance, as in `trainer.metrics.grouped_auc`.
        metrics["gauc"] = 0.5
    return {**metrics, "calibration_error": calibration_error(curve.bins())}


def _task_metrics(table: ScoreTable, kind: str, options: Evaluation, task: str) -> Metrics:
    try:
        sums, curve = _sample_sums(table, [WholePart()], kind, options, f"_{task}")
    except CommandError as error:
        raise CommandError(f"task '{task}': {error}") from error
    return _whole_metrics(sums[0], curve)


def _columns_of(divisions: Sequence[Slice]) -> list[str]:
    return list(dict.fromkeys(division.column for division in divisions if division.column))


def _by_slice(
    sums: Sequence[SampleSums] | Sequence[RankSums], options: Evaluation, total: int
) -> dict[str, dict[str, Metrics]]:
    slices: dict[str, dict[str, Metrics]] = {}
    for of_division in sums:
        division = of_division.division
        slices[division.name] = {}
        for group, name in enumerate(division.groups):
            metrics = of_division.metrics(group)
            if name == MISSING and not metrics["n"]:
                continue
            metrics["share"] = metrics["n"] / total
            metrics["sparse"] = metrics["n"] < options.sparse_below
            slices[division.name][name] = metrics
    return slices
