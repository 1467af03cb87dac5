from __future__ import annotations

import csv
import gzip
import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.loading import load_scenario
from examples.movielens_small.cold_items import (
    CONFIG,
    _new_items,
    _require_new,
    without_training_ratings,
    write_inputs,
)
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory

SPLIT = load_scenario(CONFIG).split


def rows(user: str, items: list[str]) -> list[dict[str, str]]:
    return [
        {"user_id": user, "item_id": item, "rating": "4.0", "timestamp": str(time)}
        for time, item in enumerate(items)
    ]


def test_new_movies_stay_among_the_last_ratings_of_a_user_only() -> None:
    first_items, second_items = [str(number) for number in range(20)], ["3", "4", "18"]
    ratings = [*rows("u", first_items)[::-1], *rows("v", second_items)]
    kept = without_training_ratings(ratings, {"3", "18", "19"}, SPLIT)
    # A tenth of u's 20 ratings are the last two; of v's three ratings none is.
    assert [row["item_id"] for row in kept if row["user_id"] == "u"] == [
        item for item in first_items if item != "3"
    ]
    assert [row["item_id"] for row in kept if row["user_id"] == "v"] == ["4"]


def test_ratings_of_new_movies_are_late_among_those_that_are_left() -> None:
    # Of the ten that are left five are samples, and four of them training: the ninth is new.
    items = [str(number) for number in range(20)]
    kept = without_training_ratings(rows("u", items), {*items[:10], "18", "19"}, SPLIT)
    assert [row["item_id"] for row in kept] == [*items[10:18], "19"]


def test_none_of_a_fifth_of_the_movies_has_a_training_rating(tmp_path: Path) -> None:
    with gzip.open("examples/movielens_small/answers/item_individual.jsonl.gz", "rt") as file:
        answers = [json.loads(line) for line in file]
    new = _new_items([answer["entity_id"] for answer in answers], 0.2)
    scenario = load_scenario(write_inputs(tmp_path, answers, new))
    build_examples(scenario)
    _require_new(scenario, new)
    actual = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    counts = dict(zip(actual.item_ids, actual.rating_count, strict=True))
    assert len(new) == 449 and {int(counts[item]) for item in new & counts.keys()} == {0}
    rated = max(counts, key=lambda item: counts[item])
    with pytest.raises(CommandError, match=f"1 new movies have training ratings, {rated} for one"):
        _require_new(scenario, {rated, *new})


def test_new_movies_have_no_training_rating_and_no_knowledge(tmp_path: Path) -> None:
    new = {"318", "858"}
    config = write_inputs(tmp_path, [{"entity_id": "318"}, {"entity_id": "1"}], new)
    scenario = load_scenario(config)
    assert scenario.knowledge.sources == ("item",)
    lines = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["entity_id"] for line in lines] == ["1"]
    with (tmp_path / "groups.csv").open(encoding="utf-8") as file:
        assert not new & {row["item_id"] for row in csv.DictReader(file)}
    build_examples(scenario)
    actual = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    counts = dict(zip(actual.item_ids, actual.rating_count, strict=True))
    assert [int(counts[item]) for item in sorted(new)] == [0, 0]
    assert np.sum(actual.rating_count) > 50_000


def test_names_do_not_find_movies_that_were_not_there(tmp_path: Path) -> None:
    with gzip.open("examples/movielens_small/answers/item_links.jsonl.gz", "rt") as file:
        answers = [json.loads(line) for line in itertools.islice(file, 300)]
    new = {"318", "3114"}  # The Shawshank Redemption and Toy Story 2, which many answers name
    scenario = load_scenario(write_inputs(tmp_path, answers, new, "links"))
    assert scenario.knowledge_sources() == ("links",)
    encode(scenario)
    known = read_knowledge(scenario.work_dir, "links").entity_ids
    assert len(known) > 500 and "1" in known and not new & {*known}
