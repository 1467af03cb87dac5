from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from configs.loading import ConfigurationError
from examples.evidence.data import Variant, source_folder, write_music, write_variant
from tests.examples.evidence import FILMS, RATINGS, USERS

PARTS = ("train", "validation", "test")


def read_ratings(folder: Path) -> list[dict[str, str]]:
    with gzip.open(folder / "ratings.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def lists_in(path: Path) -> dict[str, list[str]]:
    records = map(json.loads, path.read_text().splitlines())
    return {record["entity_id"]: json.loads(record["answer"])["links"] for record in records}


def test_every_user_has_one_part_and_ratings_follow_each_other_in_time(source, tmp_path):
    counts = write_variant(source, Variant("all"), tmp_path / "data")
    rows = read_ratings(tmp_path / "data")
    assert counts == {
        "train": 960,
        "validation": 120,
        "test": 120,
        "users": USERS,
        "films": FILMS,
        "new_films": 0,
    }
    parts = {row["user_id"]: row["part"] for row in rows}
    assert Counter(parts.values()) == {"train": 96, "validation": 12, "test": 12}
    assert all(parts[row["user_id"]] == row["part"] for row in rows)
    first = [row for row in rows if row["user_id"] == "7"]
    assert [int(row["position"]) for row in first] == list(range(RATINGS))
    assert [int(row["item_id"]) for row in first] == [
        (7 + place) % FILMS + 1 for place in range(RATINGS)
    ][::-1]


def test_training_sees_no_new_film_and_the_other_parts_keep_theirs(source, tmp_path):
    whole, fewer = tmp_path / "whole", tmp_path / "fewer"
    write_variant(source, Variant("all"), whole)
    counts = write_variant(source, Variant("new_items", new_items=0.1), fewer)
    new = set(json.loads((fewer / "new_items.json").read_text()))
    assert len(new) == counts["new_films"] == 2
    kept = read_ratings(fewer)
    assert kept == [
        row for row in read_ratings(whole) if row["part"] != "train" or row["item_id"] not in new
    ]
    assert new <= {row["item_id"] for row in kept}


def test_a_split_in_time_parts_each_users_ratings_in_their_order(source, tmp_path):
    counts = write_variant(source, Variant("time_split", by_time=True), tmp_path / "data")
    parts = ["train"] * 8 + ["validation", "test"]
    assert len(parts) == RATINGS
    by_user: dict[str, dict[int, str]] = {}
    for row in read_ratings(tmp_path / "data"):
        by_user.setdefault(row["user_id"], {})[int(row["position"])] = row["part"]
    assert len(by_user) == USERS
    assert all(of_user == dict(enumerate(parts)) for of_user in by_user.values())
    assert (counts["train"], counts["validation"], counts["test"]) == (960, 120, 120)


def test_fewer_training_users(source, tmp_path):
    counts = write_variant(source, Variant("users_25", training_users=0.25), tmp_path / "data")
    users = {row["user_id"]: row["part"] for row in read_ratings(tmp_path / "data")}
    assert Counter(users.values()) == {"train": 24, "validation": 12, "test": 12}
    assert counts["train"] == 240 and counts["test"] == 120


def test_versions_of_the_links(source, tmp_path):
    write_variant(source, Variant("all"), tmp_path)
    links = lists_in(tmp_path / "links.jsonl")
    assert links["20"] == ["Film 2", "Film 3", "Film 4", "Film 5"]
    assert lists_in(tmp_path / "links_1.jsonl") == {
        film: names[:1] for film, names in links.items()
    }
    assert lists_in(tmp_path / "links_3.jsonl")["20"] == ["Film 2", "Film 3", "Film 4"]
    popular = lists_in(tmp_path / "links_popular_10.jsonl")
    counts = Counter(row["item_id"] for row in read_ratings(tmp_path) if row["part"] == "train")
    most = sorted(counts, key=lambda film: (-counts[film], film))[:2]
    assert popular == {film: links[film] for film in links if film in most}
    names = [name for listed in links.values() for name in listed]
    dealt = lists_in(tmp_path / "links_random.jsonl")
    assert Counter(name for listed in dealt.values() for name in listed) == Counter(names)
    shuffled = lists_in(tmp_path / "links_shuffled.jsonl")
    assert sorted(shuffled.values()) == sorted(links.values()) and shuffled != links
    prose = (tmp_path / "prose/answers.jsonl").read_text().splitlines()
    assert len(prose) == FILMS


def test_every_source_of_the_scenario_has_its_answers(source, tmp_path, repository_root):
    write_variant(source, Variant("all"), tmp_path)
    text = (repository_root / "configs/evidence/movielens_1m.yaml").read_text(encoding="utf-8")
    sources = yaml.safe_load(text)["knowledge"]["answers"]
    files = {name: described.get("individual", []) for name, described in sources.items()}
    assert {"links_smooth", "prose", "links_popular_5"} <= {name for name in files if files[name]}
    for name, paths in files.items():
        for path in paths:
            lines = (tmp_path / path.split("/data/")[1]).read_text().splitlines()
            assert lines and {json.loads(line)["source"] for line in lines} == {name}


def test_answers_are_read_where_generate_writes_them(source, tmp_path):
    write_variant(source, Variant("all"), tmp_path / "packed")
    for name in ("item_links", "item_prose"):
        packed = source / f"answers/{name}.jsonl.gz"
        lines = gzip.decompress(packed.read_bytes()).decode().splitlines()
        packed.unlink()
        declined = {**json.loads(lines[0]), "entity_id": "999", "answer": "As an AI, I cannot."}
        packed.with_name(name).mkdir()
        text = "\n".join([*lines, json.dumps(declined)])
        (packed.with_name(name) / "answers.jsonl").write_text(text)
    write_variant(source, Variant("all"), tmp_path / "generated")
    for name in ("links.jsonl", "links_random.jsonl", "prose/answers.jsonl"):
        packed, generated = (tmp_path / folder / name for folder in ("packed", "generated"))
        assert packed.read_bytes() == generated.read_bytes()
    for name in ("links", "prose"):
        (letter,) = (tmp_path / f"generated/{name}/dead_letters.jsonl").read_text().splitlines()
        assert json.loads(letter)["reason"] == "refusal"


def test_a_world_of_music(tmp_path):
    counts = write_music(Variant("music", new_items=0.1), tmp_path)
    with (tmp_path / "plays.csv").open(newline="") as file:
        plays = list(csv.DictReader(file))
    pairs = [(row["listener"], row["artist"]) for row in plays]
    assert len(set(pairs)) == len(pairs) == sum(counts[part] for part in PARTS)
    listeners = {row["listener"]: row["part"] for row in plays}
    assert Counter(listeners.values()) == {"train": 800, "validation": 100, "test": 100}
    assert counts["listeners"] == len(listeners) and counts["artists"] == 400
    heard = {part: {row["artist"] for row in plays if row["part"] == part} for part in PARTS}
    new = (heard["validation"] | heard["test"]) - heard["train"]
    assert len(new) == counts["new_artists"] == 40
    with (tmp_path / "artists.csv").open(newline="") as file:
        artists = {row["item_id"]: row for row in csv.DictReader(file)}
    names = {row["title"] for row in artists.values()}
    links = lists_in(tmp_path / "links.jsonl")
    assert set(links) == set(artists)
    known = [name for listed in links.values() for name in listed if name in names]
    assert 0.8 < len(known) / sum(map(len, links.values())) < 0.9
    # Whoever hears artists of a genre hears more of the genre's audiences: 0.27 by chance.
    first = {artist: row["genres"].split("|")[0] for artist, row in artists.items()}
    favourite = Counter((row["listener"], first[row["artist"]]) for row in plays)
    most = [max(favourite[user, genre] for genre in set(first.values())) for user in listeners]
    assert sum(most) / len(plays) > 0.33


def test_what_is_missing_is_named(source, tmp_path):
    with pytest.raises(
        ConfigurationError, match="no MovieLens-1M in nowhere .*download movielens_1m"
    ):
        source_folder("nowhere")
    (source / "answers/item_prose.jsonl.gz").unlink()
    with pytest.raises(ConfigurationError, match="needs item_links/answers.jsonl and item_prose"):
        write_variant(source, Variant("all"), tmp_path / "data")
