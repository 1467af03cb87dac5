from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.model import Match
from models.match import KnowledgeMatch
from models.prior import PriorPrediction
from serving.refresh.description import MatchReduction, read_match, read_prior, write_prior

_VECTORS = np.random.default_rng(0).normal(size=[20, 4]).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("means", Match(dimension=3)),
        ("ridge", Match(dimension=3)),
        ("ridge", Match(dimension=3, learned=True)),
        ("ridge", Match(form="exact")),
    ],
)
def test_a_match_reduces_after_reading_as_before(kind: str, options: Match, tmp_path: Path) -> None:
    match = KnowledgeMatch.from_vectors(kind, _VECTORS, options)
    MatchReduction.of_match(match).write(tmp_path)
    found = read_match(tmp_path)
    new = np.random.default_rng(1).normal(size=[3, 4])
    np.testing.assert_array_equal(found.rows(new), match.reduce(new))


def test_a_missing_match_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"match\.npz cannot be read"):
        read_match(tmp_path)


def test_a_prior_predicts_after_reading_as_before(tmp_path: Path) -> None:
    prediction = PriorPrediction(
        centre=np.ones(4, np.float32),
        landmarks=np.eye(4, dtype=np.float32)[:2],
        coefficients=np.array([1.0, -2.0, 0.5], np.float32),
        length_scale=0.5,
    )
    write_prior(tmp_path, prediction)
    found = read_prior(tmp_path, 0.5)
    np.testing.assert_array_equal(found.predict(_VECTORS), prediction.predict(_VECTORS))
    (tmp_path / "prior.npz").unlink()
    with pytest.raises(CommandError, match=r"prior\.npz cannot be read"):
        read_prior(tmp_path, 0.5)
