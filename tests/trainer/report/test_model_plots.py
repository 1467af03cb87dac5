from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.report.synthetic import helpful_report
from trainer.experiments.results import ExperimentResult
from trainer.inspection import GateWeights
from trainer.report.plots import gate_figure, learning_figure


def test_learning_curves_show_every_seed_and_the_mean_while_all_of_them_train() -> None:
    report = helpful_report()
    runs = report.experiment.runs_of("din", "none")
    only_these = replace(report, experiment=ExperimentResult(runs, []))
    auc, loss = learning_figure(only_these).axes
    assert (auc.get_ylabel(), loss.get_ylabel()) == ("validation AUC", "training loss (nats)")
    for axes, quantity in ((auc, "validation_auc"), (loss, "train_loss")):
        curves = [[row[quantity] for row in run.history] for run in runs]
        drawn = [list(line.get_ydata()) for line in axes.lines]
        assert [curve for curve in curves if curve not in drawn] == []
        common = min(map(len, curves))
        mean = np.mean([curve[:common] for curve in curves], axis=0)
        assert any(
            len(line) == common and np.allclose(line, mean, rtol=0, atol=1e-12) for line in drawn
        )


def test_the_epoch_that_was_kept_is_marked() -> None:
    report = helpful_report()
    run = report.experiment.runs[0]
    auc, loss = learning_figure(replace(report, experiment=ExperimentResult([run], []))).axes
    best = max(run.history, key=lambda row: row["validation_auc"])
    for axes, quantity in ((auc, "validation_auc"), (loss, "train_loss")):
        marks = [line.get_xydata() for line in axes.lines if len(line.get_xdata()) == 1]
        assert marks[0].tolist() == [[best["epoch"], best[quantity]]]


def test_learning_curves_have_a_row_per_backbone_and_one_legend() -> None:
    figure = learning_figure(helpful_report())
    assert len(figure.axes) == 4
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "none",
        "hein",
        "hein_match",
    ]


def test_gate_bars_are_the_weights_per_source() -> None:
    gates = helpful_report().gates
    figure = gate_figure(gates)
    assert [axes.get_title() for axes in figure.axes] == [
        "din   hein",
        "din   hein_match",
        "dcnv2   hein",
        "dcnv2   hein_match",
    ]
    for axes, cell in zip(figure.axes, gates.values(), strict=True):
        by_source = cell.by_source
        assert [bars.get_label() for bars in axes.containers] == list(by_source)
        for bars, weights in zip(axes.containers, by_source.values(), strict=True):
            assert [bar.get_height() for bar in bars] == pytest.approx(weights)
        assert [label.get_text() for label in axes.get_xticklabels()] == [
            "S1",
            "S2",
            "D1",
            "D2",
            "D3",
            "D4",
            "D5",
        ]


def test_without_shared_experts_nothing_is_shaded() -> None:
    gates = {"din/hein": GateWeights(1, 0, {"item": np.array([0.2, 0.8])})}
    labels = gate_figure(gates).axes[0].get_legend_handles_labels()[1]
    assert labels == ["all experts alike", "item"]


def test_every_model_has_its_own_number_of_shared_experts() -> None:
    weights = {"item": np.array([0.2, 0.3, 0.5])}
    gates = {"din/a": GateWeights(1, 2, weights), "din/b": GateWeights(1, 1, weights)}
    names = [
        [label.get_text() for label in axes.get_xticklabels()] for axes in gate_figure(gates).axes
    ]
    assert names == [["S1", "S2", "D1"], ["S1", "D1", "D2"]]
