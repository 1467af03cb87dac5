from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from scipy.stats import binomtest

from tests.trainer.evaluation import synthetic_metrics
from trainer.evaluation.plots import reliability_figure, save, slices_figure
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


@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_pictures_are_not_empty(kind: str, tmp_path: Path) -> None:
    actual = synthetic_metrics.retrieval() if kind == "retrieval" else synthetic_metrics.ctr()
    save(slices_figure(actual, kind), tmp_path / "slices.png")
    picture = imread(tmp_path / "slices.png")
    assert picture.shape[1] > 1000 and picture[..., :3].std() > 0.05
