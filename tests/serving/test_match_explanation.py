"""A match taken apart, against the model's own layer: each rating alone, and all together."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.loading import ConfigurationError
from serving.client import UserRequest
from serving.client.inputs import rank_inputs
from serving.match_explanation import match_contributions, trained_contributions
from serving.refresh.version import RefreshFolder
from tests.scenarios import ITEMS, KNOWLEDGE_ONLY_ITEMS
from tests.serving.exports import Export, exported, exported_variant, tensors

CANDIDATES = [*ITEMS[:3], ITEMS[-1], *KNOWLEDGE_ONLY_ITEMS, "never seen"]


def some_user(length: int) -> UserRequest:
    """A history with an unknown item, an item twice and one that no training sample has."""
    random = np.random.default_rng(length)
    items = [str(item) for item in random.choice(ITEMS, length)]
    if length > 3:
        items[-3:] = ["never seen", KNOWLEDGE_ONLY_ITEMS[0], items[-4]]
    ratings = random.choice(np.arange(1, 5.5, 0.5), length)
    return UserRequest.from_history("u1", items, ratings.tolist(), 4.0)


class LayerOfModel:
    """The match of the trained model itself, before any export."""

    def __init__(self, export: Export, user: UserRequest):
        raw = tensors(rank_inputs(user, CANDIDATES))
        preparation = export.run.model.inputs_preparation
        self.matches = preparation.matches
        self.rows = preparation.catalogue.rows(raw["item_id"])
        self.inputs = preparation.match_inputs(raw)
        self.residuals = self.inputs["match_history_residual"].numpy()

    def means(self, residuals: np.ndarray) -> dict[str, np.ndarray]:
        """Source -> [candidates], NaN where it knows nothing of one."""
        features = self.matches(
            self.rows,
            self.inputs["match_history_row"],
            tf.constant(residuals),
            self.inputs["match_history_liked"],
            self.inputs["match_history_mask"],
        ).numpy()
        names = self.matches.feature_names
        return {
            source: features[:, names.index(f"{source}/mean")] for source in self.matches.sources
        }


@pytest.mark.parametrize("length", [0, 2, 9, 250])
@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("ridge", ["item"]),
        ("pca", ["item", "likes"]),  # the exact form
        ("moe", ["item", "likes"]),  # low-rank with trained parameters
    ],
)
def test_contributions_add_up_to_the_feature(name: str, sources: list[str], length: int) -> None:
    export = exported("din", "ridge") if name == "ridge" else exported_variant(name)
    user = some_user(length)
    layer = LayerOfModel(export, user)
    actual = match_contributions(export.path, user, CANDIDATES)
    assert list(actual) == sources
    read = layer.residuals.shape[1] if length else 0
    assert (read < length) == (length == 250)
    for source, match in actual.items():
        means = layer.means(layer.residuals)[source]
        np.testing.assert_array_equal(match.is_known, ~np.isnan(means))
        assert match.is_known.any() and not match.is_known[-1]
        np.testing.assert_allclose(match.values.sum(axis=1), np.nan_to_num(means), atol=1e-5)
        assert not match.values[~match.is_known].any()
        if length == 9:
            assert np.abs(means[match.is_known]).max() > 0.05 and len(match.history) >= 6
            for place, entry in enumerate(match.history):
                is_entry = np.arange(length - read, length) == entry
                alone = np.where(is_entry, layer.residuals, np.float32(0))
                expected = np.nan_to_num(layer.means(alone)[source])
                np.testing.assert_allclose(match.values[:, place], expected, atol=1e-5)
    trained = trained_contributions(
        export.run.model.inputs_preparation, user, CANDIDATES, export.run.folder.path
    )
    assert list(trained) == sources
    for source, match in trained.items():
        np.testing.assert_array_equal(match.history, actual[source].history)
        np.testing.assert_array_equal(match.is_known, actual[source].is_known)
        np.testing.assert_allclose(match.values, actual[source].values, atol=1e-5)
    if length:
        in_history = {entry for match in actual.values() for entry in match.history.tolist()}
        assert min(in_history) >= length - read and (length < 4 or length - 3 not in in_history)


def test_an_export_without_the_length_of_histories_is_to_be_made_again(tmp_path: Path) -> None:
    shutil.copytree(exported("din", "ridge").path, tmp_path / "1")
    path = RefreshFolder(tmp_path / "1").description
    description = json.loads(path.read_text())
    del description["match_history_length"]
    path.write_text(json.dumps(description))
    with pytest.raises(ConfigurationError, match="earlier version of the code: export again"):
        match_contributions(tmp_path / "1", some_user(2), ["1"])
