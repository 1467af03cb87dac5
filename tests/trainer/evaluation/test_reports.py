from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.stats import binomtest

from tests.trainer.evaluation import synthetic_metrics
from trainer.evaluation.part_metrics import PartMetrics
from trainer.evaluation.plots import reliability_figure, save, slices_figure, write_report
from trainer.evaluation.reports import print_part, print_table
from trainer.model_kinds import MODEL_KINDS


def test_the_reliability_curve_shows_every_bin_with_its_interval() -> None:
    actual = synthetic_metrics.ctr()
    (axes,) = reliability_figure(actual).axes
    curve = axes.containers[0]
    scores, shares = curve.lines[0].get_data()
    assert scores == pytest.approx([one.mean_score for one in actual.reliability])
    assert shares == pytest.approx([one.share_positive for one in actual.reliability])
    ends = np.array([segment[:, 1] for segment in curve.lines[2][0].get_segments()])
    for (low, high), one in zip(ends, actual.reliability, strict=True):
        positives = round(one.share_positive * one.n)
        interval = binomtest(positives, one.n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((interval.low, interval.high), abs=1e-3)
    assert "mean score" in axes.get_xlabel() and "share of positive" in axes.get_ylabel()
    assert "8,304 samples in 4 bins" in axes.get_title(loc="left")
    assert axes.get_xlim() == axes.get_ylim()


def test_every_group_with_samples_is_in_the_plot_of_slices() -> None:
    figure = slices_figure(synthetic_metrics.ctr(), "ctr")
    panels = figure.axes
    # A slice without any sample has no panel.
    assert len(panels) == 2 * 2
    assert [axes.get_title(loc="left") for axes in panels[::2]] == [
        *("item_popularity", "item.genres")
    ]
    assert [axes.get_xlabel() for axes in panels[2:]] == ["AUC", "GAUC"]
    popularity, genres = panels[0], panels[2]
    labels = [text.get_text() for text in popularity.get_yticklabels()]
    assert labels == ["0  n = 760", "1-4  n = 12", "5+  n = 7,532"]
    points = [line for line in popularity.lines if line.get_marker() not in ("None", None)]
    low, high = popularity.get_xlim()
    assert [point.get_xdata()[0] for point in points] == pytest.approx([0.82, high, 0.79])
    assert [point.get_marker() for point in points] == ["o", ">", "o"]
    assert points[1].get_markerfacecolor() == "white" != points[0].get_markerfacecolor()
    assert low < 0.79 and high < 0.9
    assert "no value" in [text.get_text().strip() for text in genres.texts]
    assert "Dashed: the whole part" in figure.get_suptitle()


def test_names_of_groups_are_no_formulas(tmp_path: Path) -> None:
    prices = {"$": synthetic_metrics.group(5000), "$$": synthetic_metrics.group(3304)}
    figure = slices_figure(replace(synthetic_metrics.ctr(), slices={"item.price": prices}), "ctr")
    save(figure, tmp_path / "slices.png")
    labels = [text.get_text().split()[0] for text in figure.axes[0].get_yticklabels()]
    assert labels == ["$", "$$"]


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_pictures_are_not_empty(kind: str, tmp_path: Path) -> None:
    actual = synthetic_metrics.retrieval() if kind == "retrieval" else synthetic_metrics.ctr()
    save(slices_figure(actual, kind), tmp_path / "slices.png")
    picture = imread(tmp_path / "slices.png")
    assert picture.shape[1] > 1000 and picture[..., :3].std() > 0.05


def test_a_line_says_the_most_and_tables_the_rest(capsys: pytest.CaptureFixture[str]) -> None:
    print_part("runs/a, test", "ctr", synthetic_metrics.ctr())
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = [line.split() for line in captured.err.splitlines()]
    assert captured.err.startswith("runs/a, test: AUC 0.8000, LogLoss 0.5000, GAUC 0.6500")
    assert "8,304 samples" in captured.err.splitlines()[0]
    assert ["normalised", "entropy", "0.7700"] in lines and ["users", "671"] in lines
    assert ["metric", "k", "=", "1", "k", "=", "10"] in lines
    assert ["ndcg", "0.7000", "0.8400"] in lines and ["map", "0.7000", "0.7700"] in lines
    assert ["task", "'loved':"] in lines and lines.count(["AUC", "0.7000"]) == 1
    (noir,) = [line for line in captured.err.splitlines() if "Film-Noir" in line]
    assert "–" in noir and "all samples have label 1" in noir


def test_retrieval_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    print_part("runs/b, test", "retrieval", synthetic_metrics.retrieval())
    errors = capsys.readouterr().err
    assert "65 examples" in errors.splitlines()[0] and "few samples" in errors


def test_figures_stand_below_each_other_and_text_is_no_markup(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table(["group", "n"], [["[bold]x[/bold]", "7"], ["y", "1,234"]], sections=True)
    lines = capsys.readouterr().err.splitlines()
    (first,) = [line for line in lines if "[bold]x[/bold]" in line]
    (second,) = [line for line in lines if "1,234" in line]
    assert len(first.rstrip()) == len(second.rstrip())


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_report_has_numbers_tables_and_pictures(tmp_path: Path) -> None:
    actual = synthetic_metrics.ctr()
    folder = tmp_path / "new" / "report"
    result = {"test": actual.metrics, "slices": actual.slices}
    write_report(folder, "ctr", actual, result)
    assert files(folder) == {
        *("metrics.json", "slices.csv", "slices.md", "reliability.png", "slices.png")
    }
    assert json.loads((folder / "metrics.json").read_text()) == result
    with (folder / "slices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["slice"], row["group"]) for row in rows] == [
        (name, group) for name, groups in actual.slices.items() for group in groups
    ]
    assert float(rows[0]["auc"]) == 0.82 and rows[4]["auc"] == ""
    assert rows[4]["reason"] == "all samples have label 1"
    lines = (folder / "slices.md").read_text().splitlines()
    assert len(lines) == 2 + len(rows)
    assert lines[1].startswith("| --- | --- | ---: |") and lines[1].endswith("| --- |")
    assert r"| Drama\|War |" in lines[5]


def test_what_there_is_not_leaves_no_file_of_an_earlier_report(tmp_path: Path) -> None:
    write_report(tmp_path, "ctr", synthetic_metrics.ctr(), {})
    write_report(tmp_path, "retrieval", synthetic_metrics.retrieval(), {})
    assert files(tmp_path) == {"metrics.json", "slices.csv", "slices.md", "slices.png"}
    write_report(tmp_path, "retrieval", PartMetrics({"n": 1}), {})
    assert files(tmp_path) == {"metrics.json"}
