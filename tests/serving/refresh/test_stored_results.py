from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.scenario import Scenario
from models.vector_tables import VectorTable, growing_table
from serving.id_index import IdIndex
from serving.refresh.stored_results import NextTables
from serving.refresh.version import IdLookup, StoredVariables
from tests.runs import write_run
from tests.scenarios import ITEMS, KNOWLEDGE_ONLY_ITEMS, USERS, rich_scenario
from tests.serving.exports import variant_scenario
from tests.serving.refresh.refreshable import (
    NEW_ANSWERS,
    NEW_ITEM,
    NEW_USER,
    export_refreshable,
    oracle_model,
    records_with,
    refreshed,
    save,
    tables_by_id,
)

_ITEM_IDS = [*ITEMS, *KNOWLEDGE_ONLY_ITEMS, NEW_ITEM, "never seen"]
_USER_IDS = [*USERS, NEW_USER, "stranger"]
_TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "int8": 2e-2}


def _scenario(variant: str) -> Scenario:
    if variant != "retrieved_by_text":
        return variant_scenario(variant)
    return rich_scenario(
        run_dir=str(Path(rich_scenario().work_dir) / "runs" / variant),
        model__backbone="two_tower",
        model__adapter="replace_id",
        model__prior=True,
        knowledge__sources=["item", "plain"],
    )


@pytest.mark.parametrize(
    ("variant", "number_format"),
    [
        ("replace_id", "int8"),
        ("two_tower", "float32"),
        pytest.param("hein", "float32", marks=pytest.mark.slow),
        pytest.param("retrieved_by_text", "int8", marks=pytest.mark.slow),
        pytest.param("linear", "float16", marks=pytest.mark.slow),
        pytest.param("pca", "float32", marks=pytest.mark.slow),
        pytest.param("mlp", "int8", marks=pytest.mark.slow),
        pytest.param("moe", "float32", marks=pytest.mark.slow),
        pytest.param("pq", "float32", marks=pytest.mark.slow),
        pytest.param("prm", "float32", marks=pytest.mark.slow),
    ],
)
def test_tables_are_those_of_an_export_that_had_the_answers_from_the_start(
    variant: str, number_format: str, tmp_path: Path
) -> None:
    run = write_run(_scenario(variant))
    export_refreshable(run, tmp_path / "base", number_format)
    result = refreshed(tmp_path / "base")
    assert result["new_items"] == 1
    oracle = oracle_model(run, records_with(run.scenario, NEW_ANSWERS))
    save(oracle, tmp_path / "oracle", number_format)
    expected = tables_by_id(tmp_path / "oracle", _ITEM_IDS, _USER_IDS)
    actual = tables_by_id(tmp_path / "base" / "2", _ITEM_IDS, _USER_IDS)
    assert actual.keys() == expected.keys()
    for name, table in actual.items():
        if table.dtype.kind == "f":
            tolerance = _TOLERANCES[number_format] if table.dtype != np.float32 else 1e-5
            np.testing.assert_allclose(
                table, expected[name], atol=tolerance, rtol=tolerance, err_msg=name
            )
        elif table.dtype == np.int8:
            # A last bit may round the other way.
            assert np.abs(table.astype(int) - expected[name].astype(int)).max() <= 1, name
        else:
            np.testing.assert_array_equal(table, expected[name], err_msg=name)


_VECTORS = np.array([[0, 0], [127, 64], [-1, 1]], np.float32)


@pytest.fixture
def variables(tmp_path: Path) -> StoredVariables:
    """Two items "a" and "b", with their tables."""
    module = tf.Module()
    module.parts = [
        IdIndex(["a", "b"], "items"),
        growing_table([[1, 0], [5, 6], [7, 0]], "items/attribute/genre", tf.int32),
        growing_table(["", "a", "b"], "items/id"),
        growing_table([0, 1, 2], "items/knowledge_row/s", tf.int32),
        VectorTable(_VECTORS, "int8", "knowledge/s/augmented"),
    ]
    tf.saved_model.save(module, str(tmp_path))
    return StoredVariables(tmp_path)


def test_new_items_are_copies_of_the_unknown_one(variables: StoredVariables) -> None:
    items = IdLookup.of_version(variables, "items")
    assert items is not None
    items.add(["c", "d"])
    tables = NextTables(variables)
    tables.add_items(items)
    assert tables.changed["items/attribute/genre"].tolist()[2:] == [[7, 0], [1, 0], [1, 0]]
    assert tables.changed["items/id"].tolist() == [b"", b"a", b"b", b"c", b"d"]
    assert tables.changed["items/knowledge_row/s"].tolist() == [0, 1, 2, 0, 0]
    assert items.rows(["a", "d", "?"]).tolist() == [1, 4, 0]
    assert "items/index/keys" in tables.changed


def test_without_new_items_nothing_changes(variables: StoredVariables) -> None:
    tables = NextTables(variables)
    items = IdLookup.of_version(variables, "items")
    assert items is not None
    tables.add_items(items)
    assert tables.changed == {}


def test_vectors_keep_the_number_format_and_the_other_rows(variables: StoredVariables) -> None:
    tables = NextTables(variables)
    rows = np.array([2, 3])
    tables.set_vectors("knowledge/s/augmented", rows, np.array([[1, -1], [254, 2]], np.float32))
    values = tables.changed["knowledge/s/augmented/values"]
    assert values.dtype == np.int8
    assert values.tolist() == [[0, 0], [127, 64], [127, -127], [127, 1]]
    np.testing.assert_allclose(
        tables.changed["knowledge/s/augmented/scales"], [0, 1, 1 / 127, 2], rtol=1e-6
    )


def test_what_does_not_fit_names_the_table(variables: StoredVariables) -> None:
    with pytest.raises(CommandError, match="knowledge/s/augmented holds a number that is infinite"):
        NextTables(variables).set_vectors(
            "knowledge/s/augmented", np.array([1]), np.array([[np.inf, 0]])
        )


def test_tables_that_the_version_lacks_are_left_out(variables: StoredVariables) -> None:
    tables = NextTables(variables)
    tables.set_rows("items/prior/s", np.array([1]), np.array([0.5]))
    tables.set_vectors("items/replaced_id", np.array([1]), _VECTORS[:1])
    assert tables.changed == {}
    assert IdLookup.of_version(variables, "users") is None
