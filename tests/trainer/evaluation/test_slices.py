from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from configs.loading import ConfigurationError, scenario_from_tree
from configs.scenario import Scenario
from tests.runs import rich_run, shared_store
from tests.scenarios import USERS_WITH_ANSWER, rich_scenario
from trainer.evaluation.part_scores import PartScores, divided_rows
from trainer.evaluation.reports import header, remark, rows
from trainer.evaluation.score_table import numbers_of_groups, with_whole_groups
from trainer.evaluation.slices import (
    SLICES_HELP,
    KeySlice,
    NumberSlice,
    Slice,
    WholePart,
    chosen_slices,
    features_read,
    slice_names,
)
from trainer.model_kinds import MODEL_KINDS, predictor_of


def pairs(division: Slice, **columns: list[float]) -> list[tuple[int, str]]:
    members = division.members({name: np.array(values) for name, values in columns.items()})
    return [
        (row, division.groups[group])
        for row, group in zip(members.rows.tolist(), members.groups.tolist(), strict=True)
    ]


def test_numbers_belong_to_the_group_above_a_bound() -> None:
    division = NumberSlice("activity", ["0", "1-4", "5+"], "position", [1, 5])
    assert pairs(division, position=[0, 1, 4, 5, 99]) == [
        *((0, "0"), (1, "1-4"), (2, "1-4"), (3, "5+"), (4, "5+"))
    ]


def test_a_number_that_is_not_known_has_a_group_of_its_own() -> None:
    division = NumberSlice("age", ["young", "old", "(missing)"], "age", [30])
    assert pairs(division, age=[20.0, np.nan, 40.0]) == [
        *((0, "young"), (1, "(missing)"), (2, "old"))
    ]


def test_where_no_number_is_known_all_are_of_one_group() -> None:
    division = NumberSlice("age", ["(missing)"], "age", [])
    assert pairs(division, age=[np.nan, np.nan]) == [(0, "(missing)"), (1, "(missing)")]


def test_an_entity_may_be_in_any_number_of_groups() -> None:
    division = KeySlice("genre", ["a", "b", "c"], "item", [[0, 2], [], [1], [2]])
    assert pairs(division, item=[2, 0, 1, 3, 0]) == [
        *((0, "b"), (1, "a"), (1, "c"), (3, "c"), (4, "a"), (4, "c"))
    ]
    assert pairs(division, item=[1]) == []


@pytest.mark.parametrize("count", [0, 1, 3])
def test_the_whole_part_has_all_rows(count: int) -> None:
    members = WholePart().members({"label": np.ones(count)})
    assert members.rows.tolist() == list(range(count)) and members.groups.tolist() == [0] * count


ALWAYS = ["user_activity", "item_popularity", "cold_user", "cold_item"]


def scenario(folder: Path) -> Scenario:
    """Two sources, of which the work directory has one."""
    (folder / "knowledge" / "item").mkdir(parents=True)
    (folder / "knowledge" / "item" / "manifest.json").write_text("{}")
    return scenario_from_tree(
        {
            "name": "films",
            "work_dir": str(folder),
            "data": {
                "interactions": {"path": "none.csv"},
                "catalogue": {
                    "path": "none.csv",
                    "attributes": {"genres": {"kind": "categorical"}},
                },
                "profiles": {"path": "none.csv", "attributes": {"age": {"kind": "numeric"}}},
            },
            "knowledge": {
                "sources": ["item"],
                "answers": {
                    "item": {"entity": "item", "individual": ["none.jsonl"]},
                    "user": {"entity": "user", "individual": ["none.jsonl"]},
                },
            },
        }
    )


def test_all_are_those_of_the_data_and_of_the_knowledge_that_is_there(tmp_path: Path) -> None:
    names = [*ALWAYS, "knowledge.item", "item.genres", "profile.age"]
    assert slice_names(scenario(tmp_path)) == names
    assert chosen_slices("all", scenario(tmp_path / "other")) == names


def test_names_are_taken_in_the_order_given_once_each(tmp_path: Path) -> None:
    actual = chosen_slices("profile.age, cold_item,profile.age,", scenario(tmp_path))
    assert actual == ["profile.age", "cold_item"]


def test_a_source_that_was_not_encoded_can_be_asked_for_by_name(tmp_path: Path) -> None:
    assert chosen_slices("knowledge.user", scenario(tmp_path)) == ["knowledge.user"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item.genre", r"no slice 'item.genre'.*item.genres.*Did you mean 'item.genres'"),
        ("cold_items", r"Did you mean 'cold_item'"),
        ("profile.city", r"no slice 'profile.city'"),
        (" , ", "names no slice"),
    ],
)
def test_what_there_is_not_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        chosen_slices(text, scenario(tmp_path))


@pytest.mark.parametrize(
    ("names", "features"),
    [
        ([], []),
        (["item_popularity", "knowledge.item", "item.genres"], []),
        (["cold_user"], ["position"]),
        (["user_activity", "profile.age", "cold_user"], ["position", "profile_age"]),
    ],
)
def test_only_slices_by_user_read_features(names: list[str], features: list[str]) -> None:
    assert features_read(names) == features


def test_the_help_names_every_slice() -> None:
    for name in [*ALWAYS, "knowledge.<source>", "item.<attribute>", "profile.<attribute>"]:
        assert f"  {name} " in SLICES_HELP


def group(kind: str, n: int = 1234, **changes: object) -> dict[str, object]:
    metrics = dict.fromkeys(MODEL_KINDS[kind].shown_metrics, 0.56789)
    return {**metrics, "n": n, "share": 0.25, "sparse": n < 50, **changes}


@pytest.mark.parametrize("kind", ["ctr", "rerank", "retrieval"])
def test_every_group_has_a_row(kind: str) -> None:
    slices = {"cold_item": {"cold": group(kind, 9), "warm": group(kind)}, "b": {"x": group(kind)}}
    actual = [dict(zip(header(kind), row, strict=True)) for row in rows(slices, kind)]
    assert [(row["slice"], row["group"]) for row in actual] == [
        *(("cold_item", "cold"), ("cold_item", "warm"), ("b", "x"))
    ]
    assert (actual[1]["n"], actual[1]["share"]) == ("1,234", "25.0 %")
    assert list(actual[1].values()).count("0.5679") == len(MODEL_KINDS[kind].shown_metrics)
    assert actual[0]["remark"] == "few samples" and actual[1]["remark"] == ""


def test_a_metric_without_a_value_is_a_dash_with_its_reason() -> None:
    one_class = group("ctr", 20, auc=None, gauc=None, reason="all samples have label 1")
    (row,) = rows({"a": {"x": one_class}}, "ctr")
    actual = dict(zip(header("ctr"), row, strict=True))
    assert actual["AUC"] == actual["GAUC"] == "–" and actual["LogLoss"] == "0.5679"
    assert actual["remark"] == "all samples have label 1; few samples"
    assert remark({"n": 0, "sparse": True, "reason": "no samples"}) == "no samples"


VALUES = ["a", "a", "b", "c", "c", "c", "c", "d"]


@pytest.mark.parametrize("cuts", [*itertools.combinations(range(9), 2), (), tuple(range(9))])
def test_a_value_is_never_in_two_batches_however_they_come(cuts: tuple[int, ...]) -> None:
    whole = pa.record_batch({"user": VALUES, "row": list(range(8))})
    ends = [*cuts, 8]
    parts = [whole.slice(start, end - start) for start, end in zip([0, *cuts], ends, strict=True)]
    actual = [batch.to_pydict() for batch in with_whole_groups(iter(parts), "user")]
    assert [row for batch in actual for row in batch["row"]] == list(range(8))
    assert all(batch["user"] for batch in actual)
    for before, after in itertools.pairwise(actual):
        assert before["user"][-1] != after["user"][0]


def test_without_rows_there_is_no_batch() -> None:
    empty = pa.record_batch({"user": pa.array([], pa.string())})
    assert list(with_whole_groups(iter([empty, empty]), "user")) == []


def test_values_are_numbered_in_order() -> None:
    assert numbers_of_groups(pa.array(VALUES)).tolist() == [0, 0, 1, 2, 2, 2, 2, 3]
    assert numbers_of_groups(pa.array(["x"])).tolist() == [0]


@pytest.mark.parametrize("backbone", ["din", "prm", "two_tower"])
def test_rows_are_those_of_the_predictions_table(backbone: str) -> None:
    run = rich_run(backbone)
    predictions = predictor_of(run.model).predict(
        shared_store().examples(run.scenario, run.model, "test")
    )
    scores = PartScores(rich_scenario(), "test", run.model.kind, (), [predictions])
    actual = divided_rows(scores, ["cold_item", "knowledge.user", "profile.city"])
    assert list(actual) == ["cold_item", "knowledge.user", "profile.city"]
    users = predictions.table()["user_id"].to_pylist()
    assert list(actual["knowledge.user"]) == ["individual", "group", "missing"]
    expected = [user in USERS_WITH_ANSWER for user in users]
    np.testing.assert_array_equal(actual["knowledge.user"]["individual"], expected)
    np.testing.assert_array_equal(actual["knowledge.user"]["missing"], np.logical_not(expected))
    assert not actual["knowledge.user"]["group"].any()
    counted = sum(rows.astype(int) for rows in actual["profile.city"].values())
    assert counted.min() == 1 and counted.max() > 1
