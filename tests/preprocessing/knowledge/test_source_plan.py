from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from preprocessing.knowledge.source_plan import plan_source
from preprocessing.steps import settings_hash


def test_tables_are_those_that_the_source_reads(small_scenario):
    scenario = small_scenario(
        knowledge__answers__text={"entity": "item", "metadata": ["genres"]},
        knowledge__answers__noise={"entity": "item", "random": {}},
        knowledge__answers__users={"entity": "user", "random": {}},
        knowledge__answers__rated={"entity": "item", "collaborative": {}},
    )
    readers = {}
    for source in scenario.knowledge.answers:
        tables = plan_source(scenario, source).tables
        readers[source] = {
            name: getattr(tables, name).columns
            for name in ("groups", "catalogue", "interactions")
            if getattr(tables, name) is not None
        }
    log = ("user_id", "item_id", "rating", "timestamp")
    assert readers == {
        "item": {"groups": ("item_id", "group_id")},
        "text": {"catalogue": ("item_id", "title", "genres")},
        "noise": {"catalogue": ("item_id", "title"), "interactions": log},
        "users": {"interactions": log},
        "rated": {"interactions": log},
    }


def hash_of(scenario, source: str = "made") -> str:
    return settings_hash(plan_source(scenario, source).settings)


def test_an_attribute_that_a_text_leaves_out_makes_no_difference(small_scenario):
    made = {"knowledge__answers__made": {"entity": "item", "metadata": ["title", "genres"]}}
    first = hash_of(small_scenario(**made))
    year = "data__catalogue__attributes__year__pattern"
    genres = "data__catalogue__attributes__genres__separator"
    assert hash_of(small_scenario(**made, **{year: "(....)"})) == first
    assert hash_of(small_scenario(**made, **{genres: ","})) != first
    assert hash_of(small_scenario(**made, knowledge__encoder__seed=3)) != first


def test_how_the_log_is_written_makes_a_difference(small_scenario):
    made = {"knowledge__answers__made": {"entity": "item", "collaborative": {}}}
    first = hash_of(small_scenario(**made))
    assert hash_of(small_scenario(**made, data__interactions__quoting=False)) != first
    assert hash_of(small_scenario(**made, data__labels={"x": {"minimum_rating": 3}})) != first
    assert hash_of(small_scenario(**made, knowledge__encoder__seed=3)) == first


def test_a_column_that_is_not_there_is_explained(small_scenario, small_folder):
    (small_folder / "catalogue.csv").write_text("item_id,name,genres\n")
    scenario = small_scenario(knowledge__answers__made={"entity": "item", "metadata": ["title"]})
    with pytest.raises(ConfigurationError, match=r"data\.catalogue\.title: .*no column 'title'"):
        plan_source(scenario, "made")
    scenario = small_scenario(
        knowledge__answers__made={"entity": "item", "metadata": ["plot"]},
        data__catalogue__path="nowhere.csv",
    )
    with pytest.raises(ConfigurationError, match="there is no attribute 'plot'"):
        plan_source(scenario, "made")
