from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score, v_measure_score

from examples.synthetic import LINKS, SyntheticLog, zipf
from preprocessing.links.spectral import link_graph, spectral_vectors

LOG = SyntheticLog(interactions=3_000, users=40, items=200, seed=7, clusters=4)
FILES = ("interactions.csv", "catalogue.csv", "item_answers.jsonl", "link_answers.jsonl")


def written(log: SyntheticLog, folder: Path) -> dict[str, bytes]:
    log.write(folder)
    return {name: (folder / name).read_bytes() for name in FILES}


def answers(path: Path) -> dict[str, str]:
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {record["entity_id"]: record["answer"] for record in records}


def test_equal_settings_give_equal_bytes_and_another_seed_others(tmp_path: Path) -> None:
    once, again = written(LOG, tmp_path / "once"), written(LOG, tmp_path / "again")
    assert once == again
    other = written(dataclasses.replace(LOG, seed=8), tmp_path / "other")
    assert [name for name in FILES if other[name] == once[name]] == []


@pytest.mark.parametrize("block", [1, 7, 200, 3_000])
def test_the_size_of_a_block_changes_no_byte(tmp_path: Path, block: int) -> None:
    whole = written(LOG, tmp_path / "whole")
    log = dataclasses.replace(LOG, interactions=200)
    log.write_interactions(tmp_path / "few.csv", block)
    assert whole["interactions.csv"].startswith((tmp_path / "few.csv").read_bytes())
    for name, write in [
        ("catalogue.csv", LOG.write_catalogue),
        ("item_answers.jsonl", LOG.write_answers),
        ("link_answers.jsonl", LOG.write_links),
    ]:
        write(tmp_path / name, block)
        assert (tmp_path / name).read_bytes() == whole[name], name


def test_counts_and_ranges(tmp_path: Path) -> None:
    LOG.write(tmp_path)
    log = pd.read_csv(tmp_path / "interactions.csv")
    assert len(log) == 3_000
    assert set(log["user_id"]) == set(range(1, 41)) and log["item_id"].between(1, 200).all()
    assert set(log["rating"]) <= {half / 2 for half in range(1, 11)}
    assert log["timestamp"].between(1_000_000_000, 1_000_000_000 + 5 * 366 * 86_400).all()
    catalogue = pd.read_csv(tmp_path / "catalogue.csv")
    assert catalogue["item_id"].tolist() == [*range(1, 201)] and catalogue["title"].is_unique
    assert [*answers(tmp_path / "item_answers.jsonl")] == [str(n) for n in range(1, 201, 2)]
    lists = answers(tmp_path / "link_answers.jsonl")
    assert [*lists] == [str(n) for n in range(1, 201)]
    names = [name for answer in lists.values() for name in json.loads(answer)["links"]]
    assert len(names) == 200 * LINKS
    # Five in a hundred are mistyped, ten name what the catalogue lacks.
    assert 0.8 < np.isin(names, catalogue["title"]).mean() < 0.9


@pytest.mark.parametrize("exponent", [0.5, 0.7])
def test_popularity_follows_zipf(exponent: float) -> None:
    drawn = zipf((np.arange(200_000) + 0.5) / 200_000, 50, exponent)
    ranks = np.arange(1, 51)
    weights = [np.mean((rank + np.linspace(0, 1, 1001)) ** -exponent) for rank in ranks]
    np.testing.assert_allclose(
        np.bincount(drawn, minlength=50) / 200_000, weights / np.sum(weights), atol=1e-4
    )


def test_titles_of_the_largest_catalogue_differ() -> None:
    first_two = [" ".join(title.split()[:2]) for title in LOG.titles(np.arange(99_000)).to_pylist()]
    assert len(set(first_two)) == 99_000
    far = LOG.titles(np.array([0, 40_009, 40_009 * 40_008])).to_pylist()
    assert len({title.rsplit(" ", 1)[0] for title in far}) == 3
    assert all(re.fullmatch(r"[A-Z][a-z]{5} [A-Z][a-z]{5} [A-Z][a-z]{5}", title) for title in far)


def test_ratings_follow_the_planted_tastes() -> None:
    log = dataclasses.replace(LOG, interactions=100_000)
    rows = log.rows(np.arange(100_000)).to_pandas()
    users, clusters = rows["user_id"].to_numpy() - 1, (rows["item_id"].to_numpy() - 1) % 4
    liked = log.taste(users, clusters) > 0
    means = rows["rating"].groupby(liked).mean()
    # Twice 0.6, less what is cut off at 5.
    assert 1.0 < means[True] - means[False] < 1.2
    favourites = log.favourite(np.arange(40))
    assert (log.taste(np.arange(40), favourites) == 1).all()
    # Half of what others dislike goes to the favourite.
    assert liked.mean() > 0.7


def test_links_recover_the_clusters_of_the_items_that_are_known() -> None:
    items = np.arange(600)
    log = dataclasses.replace(LOG, items=600, known=1.0)
    item, linked = log.links(items)
    inside = log.cluster(item) == log.cluster(linked)
    # Of those that lead anywhere a fourth does, too.
    assert abs(inside.mean() - (0.9 + 0.1 / 4)) < 0.01
    graph = link_graph([str(n) for n in items], [], item, linked, np.tile(np.arange(LINKS), 600))
    vectors = spectral_vectors(graph, 4).vectors[:, 1:]
    centres = np.stack([vectors[items % 4 == cluster].mean(axis=0) for cluster in range(4)])
    nearest = np.argmin(((vectors[:, np.newaxis] - centres) ** 2).sum(axis=2), axis=1)
    assert (nearest == items % 4).mean() > 0.95
    ignorant, anywhere = dataclasses.replace(log, known=0.0).links(items)
    assert abs((ignorant % 4 == anywhere % 4).mean() - 0.25) < 0.02


def test_prose_tells_the_clusters_of_the_items_that_are_known(tmp_path: Path) -> None:
    LOG.write_answers(tmp_path / "answers.jsonl")
    texts = answers(tmp_path / "answers.jsonl")
    items = np.array([int(item) - 1 for item in texts])
    known = LOG.is_known(items)
    assert 0.5 < known.mean() < 0.9
    words = [set(text.split()) for text in texts.values()]
    told = [words[n] for n in np.flatnonzero(known)]
    silent = set().union(*(words[n] for n in np.flatnonzero(~known)))
    own = [
        set().union(*(told[n] for n in np.flatnonzero(items[known] % 4 == cluster)))
        for cluster in range(4)
    ]
    telling = [
        own[cluster] - silent - set().union(*(own[other] for other in range(4) if other != cluster))
        for cluster in range(4)
    ]
    found = [int(np.argmax([len(text & words) for words in telling])) for text in told]
    assert v_measure_score(items[known] % 4, found) > 0.99


def test_a_share_of_the_genres_tells_the_cluster(tmp_path: Path) -> None:
    log = dataclasses.replace(LOG, items=4_000, genres=("Folk", "Jazz"), told_by_genre=0.6)
    log.write_catalogue(tmp_path / "catalogue.csv")
    first = pd.read_csv(tmp_path / "catalogue.csv")["genres"].str.split("|").str[0]
    # Clusters 0 and 2 are Folk, 1 and 3 Jazz; of the genres that tell nothing half is right.
    right = first == np.where(np.arange(4_000) % 2 == 0, "Folk", "Jazz")
    assert abs(right.mean() - (0.6 + 0.4 / 2)) < 0.02


def test_group_answers_name_every_group_once(tmp_path: Path) -> None:
    groups = tmp_path / "groups.csv"
    groups.write_text("item_id,group_id\n3,g2\n1,g1\n5,g2\n", encoding="utf-8")
    LOG.write_group_answers(groups, "item", tmp_path / "answers.jsonl")
    assert [*answers(tmp_path / "answers.jsonl")] == ["g2", "g1"]


def test_what_knowledge_can_add_is_known_beforehand() -> None:
    log = SyntheticLog(interactions=100_000, users=1_000, items=1_000, seed=2)
    aucs = [log.attainable_auc(known, 50_000) for known in (0.0, 0.5, 1.0)]
    assert aucs[0] + 0.03 < aucs[1] < aucs[2] - 0.02
    rows = log.rows(np.arange(250_000)).to_pandas()
    users, items = rows["user_id"].to_numpy() - 1, rows["item_id"].to_numpy() - 1
    rows["taste"] = 1.2 * (log.taste(users, log.cluster(items)) > 0)
    judged, others = rows[:50_000], rows[50_000:]
    rest = others["rating"] - others["taste"]
    by_item, by_user = (
        judged[key].map(rest.groupby(others[key]).mean()) for key in ("item_id", "user_id")
    )
    # Means of other ratings and planted tastes, without the formula of the score.
    reached = roc_auc_score(judged["rating"] >= 4, by_item + by_user + judged["taste"])
    assert aucs[2] - 0.02 < reached <= aucs[2]
