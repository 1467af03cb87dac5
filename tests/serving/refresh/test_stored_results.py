from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.scenario import Scenario
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
        ("hein", "float32"),
        ("replace_id", "int8"),
        ("two_tower", "float32"),
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
    found = tables_by_id(tmp_path / "base" / "2", _ITEM_IDS, _USER_IDS)
    assert found.keys() == expected.keys()
    for name, table in found.items():
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
