from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from preprocessing.records.contract import USER_FOLDS
from serving.refresh.parts import StoredFunctions, TrainedFunctions
from tests.runs import random_model
from tests.scenarios import rich_scenario

_VECTORS = np.random.default_rng(0).normal(size=[9000, 12]).astype(np.float32)
"""More than one chunk."""


def test_functions_outlive_the_model_and_are_all_that_is_stored(tmp_path: Path) -> None:
    model = random_model(
        rich_scenario(
            model__adapter="mlp", model__mlp__units=[10, 8], model__standardized_knowledge=True
        )
    )
    adapter = model.adapter
    functions = TrainedFunctions(model)
    assert functions.names == ("augment/item", "augment/user")
    functions.write(tmp_path / "functions")
    stored = StoredFunctions(tmp_path / "functions")
    for source in ("item", "user"):
        expected = adapter.augment_vectors(source, tf.constant(_VECTORS)).numpy()
        np.testing.assert_allclose(stored.augment(source, _VECTORS), expected, atol=1e-5, rtol=1e-5)
        assert stored.augment(source, _VECTORS[:0]).shape == (0, adapter.width)
    # Neither the 61 knowledge vectors nor the 60 trained ids: weights of 12 numbers and less only.
    variables = tf.train.list_variables(str(tmp_path / "functions" / "variables" / "variables"))
    assert max(max(shape, default=0) for _, shape in variables) == 12


def test_knowledge_in_place_of_ids_is_projected(tmp_path: Path) -> None:
    model = random_model(
        rich_scenario(model__adapter="replace_id", knowledge__sources=["item", "plain"])
    )
    ids = model.scorer.assembly.items.ids
    functions = TrainedFunctions(model)
    assert functions.names == ("project/item", "project/plain")
    functions.write(tmp_path / "functions")
    stored = StoredFunctions(tmp_path / "functions")
    tables = ids.projected_tables()
    rows = {source: table.rows(tf.constant(["3"])).numpy() for source, table in ids.tables.items()}
    parts = [
        stored.project(source, ids.tables[source].vectors(row).numpy())
        for source, row in rows.items()
    ]
    catalogue_row = model.inputs_preparation.catalogue.rows(tf.constant(["3"]))
    np.testing.assert_allclose(sum(parts), ids(catalogue_row).numpy(), atol=1e-6)
    np.testing.assert_allclose(tables["item"][rows["item"]], parts[0], atol=1e-6)
    assert not tables["item"][0].any()


def test_vectors_of_items_need_no_statistics_by_fold(tmp_path: Path) -> None:
    model = random_model(rich_scenario(model__backbone="two_tower", model__adapter="none"))
    expected = model.all_item_vectors()
    TrainedFunctions(model).write(tmp_path / "functions")
    shapes = [
        shape
        for _, shape in tf.train.list_variables(str(tmp_path / "functions/variables/variables"))
    ]
    assert [len(expected), 2] in shapes
    assert not any(USER_FOLDS + 1 in shape for shape in shapes)
    rows = np.arange(len(expected), dtype=np.int32)
    actual = StoredFunctions(tmp_path / "functions").item_vectors(
        rows, np.zeros([len(rows), 0], np.float32), [], None
    )
    np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_missing_functions_are_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be loaded.*export again"):
        StoredFunctions(tmp_path / "functions")
