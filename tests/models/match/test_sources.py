from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from models.match import KnowledgeMatches
from tests.models.match.histories import histories, item_vectors, matcher

CATALOGUE_ROWS = 9
FOLDS = np.stack([item_vectors(seed) for seed in (7, 8)])
ITEM_ROWS = {
    "item": np.array([0, 3, 1, 2, 5, 4, 0, 12, 7]),
    "collaborative": np.array([0, 1, 2, 3, 4, 5, 6, 7, 0]),
}


def matches() -> KnowledgeMatches:
    return KnowledgeMatches(
        {
            "item": matcher("means"),
            "collaborative": matcher("ridge", item_vectors(6), FOLDS, learned=True),
        },
        ITEM_ROWS,
    )


def catalogue_histories(users: int) -> dict[str, np.ndarray]:
    history = histories(users, 6)
    return history | {"history_rows": history["history_rows"] % CATALOGUE_ROWS}


@pytest.mark.parametrize("folds", [None, np.array([0, 1, 0])])
@pytest.mark.parametrize("shape", [[3], [3, 4]])
def test_features_of_the_sources_stand_side_by_side(
    folds: np.ndarray | None, shape: list[int]
) -> None:
    layer, history = matches(), catalogue_histories(3)
    candidates = np.resize(np.arange(CATALOGUE_ROWS), shape)
    features = layer(candidates, **history, folds=folds)
    expected = []
    for source, match in layer.matches.items():
        item_rows = ITEM_ROWS[source]
        own = history | {"history_rows": item_rows[history["history_rows"]]}
        expected.append(match(item_rows[candidates], **own, folds=folds, missing=np.nan))
    # NaN says that a source knows nothing of the candidate; row 0 is the unknown item.
    assert np.isnan(np.take(features, 0, axis=-2)).any()
    np.testing.assert_array_equal(features, np.concatenate(expected, axis=-1))
    assert features.shape == (*shape, 8)


def test_features_have_names() -> None:
    layer = matches()
    assert layer.num_features == 8
    assert layer.sources == ("item", "collaborative")
    assert layer.feature_names[0] == "item/mean_near"
    assert layer.feature_names[-2:] == ("collaborative/mean", "collaborative/deviation")


def test_one_learned_or_cross_fitted_source_makes_the_whole_so() -> None:
    fixed = KnowledgeMatches({"item": matcher("ridge")}, {"item": ITEM_ROWS["item"]})
    assert matches().is_learned
    assert matches().has_folds
    assert not fixed.is_learned
    assert not fixed.has_folds


def test_an_export_drops_the_fold_tables_of_every_source() -> None:
    layer, history = matches(), catalogue_histories(3)
    candidates = np.array([1, 2, 8])
    expected = layer(candidates, **history)
    layer.store(tf.float32)
    np.testing.assert_array_equal(layer(candidates, **history), expected)
    assert not layer.has_folds
    assert not any("fold" in weight.name for weight in layer.weights)


def test_it_is_made_again_from_configuration_weights_and_checkpoint(tmp_path: Path) -> None:
    layer, history, folds = matches(), catalogue_histories(3), np.array([0, 1, 1])
    expected = layer(np.array([1, 2, 3]), **history, folds=folds)
    again = KnowledgeMatches.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(again(np.array([1, 2, 3]), **history, folds=folds), expected)
    restored = KnowledgeMatches.from_config(layer.get_config())
    path = tf.train.Checkpoint(matches=layer).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(matches=restored).read(path).assert_consumed()
    np.testing.assert_array_equal(restored(np.array([1, 2, 3]), **history, folds=folds), expected)


def test_wrong_sources_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one source"):
        KnowledgeMatches({}, {})
    with pytest.raises(ValueError, match=r"rows of the same sources. Received: \['user'\]"):
        KnowledgeMatches({"item": matcher("means")}, {"user": ITEM_ROWS["item"]})
    with pytest.raises(ValueError, match="give item_rows, or num_catalogue_rows"):
        KnowledgeMatches({"item": matcher("means")})
