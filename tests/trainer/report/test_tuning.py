from __future__ import annotations

import numpy as np
import pytest

from tests.trainer.report.synthetic import helpful_report, tuned_report
from trainer.report.protocol import ordered_tuning, settings_table, tuning_figure, tuning_seconds


def test_searches_are_ordered_by_backbone_then_arm() -> None:
    assert [(tuned.backbone, tuned.knowledge) for tuned in ordered_tuning(tuned_report())] == [
        (backbone, arm) for backbone in ("din", "dcnv2") for arm in ("none", "hein", "hein_match")
    ]


def test_the_settings_of_every_cell_are_listed() -> None:
    table = settings_table(ordered_tuning(tuned_report()))
    assert table.header[2:5] == (
        "training.learning_rate",
        "model.dropout_rate",
        "training.batch_size",
    )
    assert table.rows[1] == (
        *("din", "hein", "0.00125", "0.1", "512"),
        *("2 of 3", "2", "0.7120", "0.7020"),
    )
    assert {len(row) for row in table.rows} == {len(table.header)}


def test_the_time_of_all_trials_counts() -> None:
    report = tuned_report()
    assert tuning_seconds(report, "din", "hein") == 23.5
    assert tuning_seconds(helpful_report(), "din", "hein") is None


def test_the_figure_has_the_best_so_far_of_every_arm() -> None:
    report = tuned_report()
    figure = tuning_figure(report, ordered_tuning(report))
    din, _ = figure.axes
    assert [axes.get_title() for axes in figure.axes] == ["din", "dcnv2"]
    assert din.get_ylabel() == "validation AUC"
    lines = {line.get_label(): np.asarray(line.get_ydata()) for line in din.lines}
    assert lines["hein"] == pytest.approx([0.702, 0.712])
