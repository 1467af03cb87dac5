from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.inputs import knowledge_row_key
from preprocessing.encode import encode
from tests.runs import WrittenRun, raw_requests, write_run, written_run
from tests.scenarios import ITEMS, KNOWLEDGE_HISTORY_CAP, rich_scenario, tiny_scenario
from tests.trainer.synthetic_results import result_of
from trainer.evaluation.runs import read_run
from trainer.examples import ExampleStore
from trainer.experiments.results import ExperimentResult, RunResult
from trainer.inspection import GateWeights, factor_weights, mean_gates, training_counts


def as_result(run: WrittenRun, backbone: str, arm: str, seed: int = 1) -> RunResult:
    return dataclasses.replace(result_of(backbone, arm, seed), folder=run.folder.path)


@pytest.fixture(scope="module")
def gates() -> dict[str, GateWeights]:
    runs = [
        as_result(written_run("din", "none"), "din", "none"),
        as_result(written_run("din", "hein"), "din", "hein"),
        as_result(written_run("din", "hein", seed=2), "din", "hein", seed=2),
        as_result(written_run("dcnv2", "ridge"), "dcnv2", "hein_match"),
    ]
    return mean_gates(ExperimentResult(runs, []))


def test_gates_are_there_for_every_cell_with_hein_and_each_of_its_sources(gates) -> None:
    assert {cell: set(each.by_source) for cell, each in gates.items()} == {
        "din/hein": {"item", "user"},
        "dcnv2/hein_match": {"item"},
    }


def test_gates_of_a_source_sum_to_one(gates) -> None:
    experts = 2 + 3
    for each in gates.values():
        assert each.num_shared_experts == 2
        for weights in each.by_source.values():
            assert weights.shape == (experts,)
            assert (weights > 0).all() and weights.std() > 1e-3
            assert weights.sum() == pytest.approx(1, abs=1e-5)


def test_every_entity_with_knowledge_counts_once_and_the_first_seed_is_shown(gates) -> None:
    run = written_run("din", "hein")
    users = np.unique(raw_requests(run.scenario)["user_id"].numpy())
    table = run.model.adapter.tables["user"]
    rows = table.rows(users).numpy()
    assert (rows == 0).any()
    vectors = table.vectors(np.unique(rows[rows > 0]))
    items = run.model.adapter.tables["item"].vectors([1, 2, 3])
    expected = run.model.adapter.network.gates({"user": vectors, "item": items})["user"]
    actual = gates["din/hein"]
    assert actual.seed == 1
    np.testing.assert_allclose(
        actual.by_source["user"], expected.numpy().mean(axis=0), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(
    ("without", "expected"), [(["user"], {"din/hein": {"item"}}), (["user", "item"], {})]
)
def test_a_source_without_any_known_entity_has_no_mean(
    without: list[str], expected: dict[str, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ExampleStore.examples

    def examples(store, scenario, model, part):
        collected = whole(store, scenario, model, part)
        missing = {
            key: np.zeros_like(collected.features[key])
            for key in (knowledge_row_key(source) for source in without)
        }
        return dataclasses.replace(collected, features={**collected.features, **missing})

    monkeypatch.setattr(ExampleStore, "examples", examples)
    result = ExperimentResult([as_result(written_run("din", "hein"), "din", "hein")], [])
    assert {cell: set(actual.by_source) for cell, actual in mean_gates(result).items()} == expected


@pytest.mark.parametrize(
    ("adapter", "experts"), [("moe", 4), ("mlp", None), ("linear", None), ("none", None)]
)
def test_only_adapters_with_gates_have_some(
    adapter: str, experts: int | None, tmp_path: Path
) -> None:
    scenario = tiny_scenario(
        run_dir=str(tmp_path / "run"),
        model__adapter=adapter,
        model__moe={"num_experts": 4, "expert_units": [10, 8]},
        model__mlp={"units": [10, 8]},
    )
    run = as_result(write_run(scenario), "din", adapter)
    actual = mean_gates(ExperimentResult([run], []))
    if experts is None:
        assert actual == {}
    else:
        gates = actual[f"din/{adapter}"]
        assert gates.num_shared_experts == experts
        assert {len(weights) for weights in gates.by_source.values()} == {experts}


@pytest.mark.parametrize("backbone", ["din", "prm"])
def test_factor_weights_are_means_over_distinct_entities(backbone: str, tmp_path: Path) -> None:
    scenario = rich_scenario(
        run_dir=str(tmp_path / "run"),
        model__backbone=backbone,
        model__factor_gate=True,
        knowledge__sources=["item", "user", "second"],
        knowledge__answers__second={"entity": "item", "random": {"dimension": 12}},
        work_dir=str(tmp_path / "work"),
    )
    shutil.copytree(rich_scenario().work_dir, tmp_path / "work")
    encode(scenario, sources=["second"])
    _, model, examples = read_run(write_run(scenario).folder.path, "test")
    actual = factor_weights(scenario, model, examples)
    assert list(actual) == ["item"] and list(actual["item"]) == ["item", "second"]
    assert sum(actual["item"].values()) == pytest.approx(1, abs=1e-5)
    weights = model.factor_weights(dict(examples.features))["item"].numpy().reshape(-1, 2)
    by_item = dict(zip(examples.features["item_row"].ravel().tolist(), weights, strict=True))
    by_item.pop(0, None)
    expected = np.mean(list(by_item.values()), axis=0)
    np.testing.assert_allclose(list(actual["item"].values()), expected, atol=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-3


def test_without_a_factor_gate_there_are_no_weights() -> None:
    scenario, model, examples = read_run(written_run().folder.path, "test")
    assert factor_weights(scenario, model, examples) == {}


def test_training_counts_are_those_of_the_rating_file() -> None:
    scenario = tiny_scenario()
    ratings = pd.read_csv(scenario.data.interactions.path, dtype={"user_id": str, "item_id": str})
    ratings = ratings[pd.to_numeric(ratings.rating, errors="coerce").notna()]
    ratings = ratings.sort_values(["user_id", "timestamp"])
    position = ratings.groupby("user_id").cumcount()
    count = ratings.groupby("user_id").item_id.transform("size")
    seen = np.minimum((count + 1) // 2, KNOWLEDGE_HISTORY_CAP)
    end_of_train = seen + np.floor(0.8 * (count - seen) + 0.5 + 1e-9)
    expected = ratings[position < end_of_train].item_id.value_counts().to_dict()
    counts = training_counts(scenario)
    assert set(counts) == set(ITEMS)
    assert {item: number for item, number in counts.items() if number} == expected
