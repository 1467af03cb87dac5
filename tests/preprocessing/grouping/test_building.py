"""Groups of the bundled MovieLens sample: sizes, likeness, and the same bytes on any threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from configs.loading import load_scenario
from configs.scenario import Scenario
from preprocessing.dead_letters import DeadLetterRuns, count_by_reason
from preprocessing.examples import build_examples
from preprocessing.grouping.features import Material, item_blocks, items_to_group, read_material
from preprocessing.grouping.plan import groups_file
from preprocessing.grouping.step import make_groups
from preprocessing.interactions.catalogue import open_catalogue
from preprocessing.interactions.reading import open_interactions
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.tfrecord_file import read_records
from preprocessing.records.wire import decode_example
from tests.scenarios import write_tiny_inputs

SAMPLE = Path("examples") / "movielens_small"
SOURCES = {"item": 80, "user_liked": 30, "user_disliked": 30}


@pytest.fixture(scope="module")
def config(repository_root, tmp_path_factory) -> Path:
    """A scenario on the bundled sample whose groups are made here."""
    folder = tmp_path_factory.mktemp("sample")
    tree = yaml.safe_load((repository_root / "configs/movielens_small.yaml").read_text())
    tree["work_dir"] = str(folder / "work")
    for table in ("interactions", "catalogue"):
        tree["data"][table]["path"] = str(repository_root / tree["data"][table]["path"])
    tree["knowledge"]["answers"] |= {
        source: {
            "entity": source.partition("_")[0],
            "collective": ["later.jsonl"],
            "grouping": {"maximum_size": size},
        }
        for source, size in SOURCES.items()
    }
    path = folder / "grouped.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def sample(config) -> Scenario:
    """The scenario, its groups made."""
    scenario = load_scenario(config)
    make_groups(scenario)
    return scenario


@pytest.fixture(scope="module")
def movies(repository_root) -> pd.DataFrame:
    movies = pd.read_csv(repository_root / SAMPLE / "movies.csv").set_index("item_id")
    return movies["genres"].fillna("").str.get_dummies("|")


@pytest.fixture(scope="module")
def log(repository_root) -> pd.DataFrame:
    """The log in order, with `known` for interactions [0, k_u) and `liked`."""
    log = pd.read_csv(repository_root / SAMPLE / "ratings.csv.gz")
    log = log.sort_values(["user_id", "timestamp", "item_id"])
    position = log.groupby("user_id").cumcount()
    count = log.groupby("user_id")["item_id"].transform("size")
    log["known"] = position < np.minimum((count + 1) // 2, 30)
    log["liked"] = log["rating"] >= 4
    return log


def groups_of(scenario: Scenario, source: str) -> pd.Series:
    path = groups_file(scenario, source)
    assert path is not None
    return pd.read_csv(path).set_index(f"{source.partition('_')[0]}_id")["group_id"]


def bundled_groups(repository_root: Path, source: str) -> pd.Series:
    """The groups that come with the sample's answers."""
    path = repository_root / SAMPLE / f"groups_{source}.csv"
    return pd.read_csv(path).set_index(f"{source.partition('_')[0]}_id")["group_id"]


def shuffled(groups: pd.Series) -> pd.Series:
    """Groups of the same sizes drawn at random."""
    return pd.Series(np.random.default_rng(0).permutation(groups.to_numpy()), index=groups.index)


def likeness(groups: pd.Series, vectors: pd.DataFrame) -> float:
    """Mean cosine of two members of a group."""
    values = vectors.to_numpy(dtype=float)
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    unit = pd.DataFrame(values / np.maximum(lengths, 1e-9), index=vectors.index)
    unit = unit.reindex(groups.index).fillna(0)
    sums = unit.groupby(groups).sum()
    squares = (unit**2).sum(axis=1).groupby(groups).sum()
    sizes = groups.groupby(groups).size()
    return float(((sums**2).sum(axis=1) - squares).sum() / (sizes * (sizes - 1)).sum())


def test_all_movies_are_in_groups_of_the_allowed_size(sample, movies):
    groups = groups_of(sample, "item")
    assert set(groups.index) == set(movies.index)
    sizes = groups.value_counts()
    assert SOURCES["item"] / 4 <= sizes.min() and sizes.max() <= SOURCES["item"]
    print(f"movies for one LLM call: {len(groups) / groups.nunique():.0f}")
    assert len(groups) / groups.nunique() > 40


def test_movies_of_a_group_share_genres_far_more_than_chance(sample, movies, repository_root):
    groups = groups_of(sample, "item")
    made, random = likeness(groups, movies), likeness(shuffled(groups), movies)
    theirs = likeness(bundled_groups(repository_root, "item"), movies)
    print(f"genres: made {made:.2f}, random {random:.2f}, bundled {theirs:.2f}")
    assert made > 2.5 * random and made > 0.85 * theirs


def test_movies_of_a_group_go_on_to_be_liked_by_the_same_users(sample, log, repository_root):
    later = log[~log["known"] & log["liked"]]
    known = log[log["known"] & log["liked"]]

    def found(groups: pd.Series) -> float:
        """Share of later likes whose group holds a movie that the user liked before."""
        before = set(zip(known["user_id"], known["item_id"].map(groups), strict=True))
        after = zip(later["user_id"], later["item_id"].map(groups), strict=True)
        return float(np.mean([pair in before for pair in after]))

    groups = groups_of(sample, "item")
    made, random = found(groups), found(shuffled(groups))
    theirs = found(bundled_groups(repository_root, "item"))
    print(f"later likes: made {made:.2f}, random {random:.2f}, bundled {theirs:.2f}")
    assert made > 1.5 * random


@pytest.mark.parametrize("source", ["user_liked", "user_disliked"])
def test_users_of_a_group_go_on_to_judge_alike(sample, log, source, repository_root):
    liked = source == "user_liked"
    known = log[log["known"] & (log["liked"] == liked)]
    groups = groups_of(sample, source)
    assert set(groups.index) <= set(known["user_id"])
    assert known["user_id"].nunique() - len(groups) <= 5  # those of nothing but untitled movies
    sizes = groups.value_counts()
    assert 5 <= sizes.min() and sizes.max() <= SOURCES[source]
    later = log[~log["known"] & (log["liked"] == liked)]
    vectors = pd.crosstab(later["user_id"], later["item_id"]).clip(upper=1)
    vectors = vectors * np.log(len(vectors) / vectors.sum())
    made, random = likeness(groups, vectors), likeness(shuffled(groups), vectors)
    theirs = likeness(bundled_groups(repository_root, source), vectors)
    print(f"{source}: made {made:.3f}, random {random:.3f}, bundled {theirs:.3f}")
    assert made > 1.4 * random


def test_members_of_a_group_have_vectors_alike(sample, tmp_path, repository_root):
    material = material_of(sample, tmp_path)
    grouping = sample.knowledge.answers["item"].grouping
    assert grouping is not None
    blocks = item_blocks(material.items, material.known_interactions, grouping)
    entities = items_to_group(material.items, blocks)
    ids = pd.Index(entities.ids.to_pylist()).astype(int)
    vectors = pd.DataFrame(entities.vectors, index=ids)
    groups = groups_of(sample, "item")
    made, random = likeness(groups, vectors), likeness(shuffled(groups), vectors)
    theirs = likeness(bundled_groups(repository_root, "item"), vectors)
    print(f"features: made {made:.2f}, random {random:.2f}, bundled {theirs:.2f}")
    assert made > random + 0.5


@pytest.mark.slow
def test_threads_and_processes_make_no_difference(sample, config, repository_root, tmp_path):
    for threads in ("1", "2"):
        subprocess.run(
            [
                *(sys.executable, "-m", "preprocessing", "group", "--config", str(config)),
                f"work_dir={tmp_path / threads}",
            ],
            cwd=repository_root,
            env=os.environ
            | {
                "OPENBLAS_NUM_THREADS": threads,
                "OMP_NUM_THREADS": threads,
                "PYTHONHASHSEED": threads,
            },
            capture_output=True,
            check=True,
        )
        for source in SOURCES:
            path = tmp_path / threads / "groups" / source / "groups.csv"
            own = groups_file(sample, source)
            assert own is not None and path.read_bytes() == Path(own).read_bytes()


Pairs = set[tuple[str, str]]


def material_of(scenario: Scenario, folder: Path) -> Material:
    log = open_interactions(scenario.data, scenario.split)
    catalogue = open_catalogue(scenario.data.catalogue)
    return read_material(scenario, log, catalogue, folder, DeadLetterRuns(folder / "letters"))


def known_pairs(scenario: Scenario, folder: Path) -> Pairs:
    known = material_of(scenario, folder).known_interactions
    users, items = known.user_ids.to_pylist(), known.item_ids.to_pylist()
    rows = zip(known.user_of_row.tolist(), known.item_of_row.tolist(), strict=True)
    return {(users[user], items[item]) for user, item in rows}


def sample_pairs(scenario: Scenario) -> Pairs:
    examples = WorkDirectory(scenario.work_dir).examples
    decoded = [
        decode_example(record)
        for part in PARTS
        for path in examples.shards(part)
        for record in read_records(path)
    ]
    return {(row["user_id"][0].decode(), row["item_id"][0].decode()) for row in decoded}


def test_tables_are_read_and_nothing_is_left_behind(small_scenario, tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    material = material_of(small_scenario(), folder)
    assert material.records == {"interactions": 18, "catalogue": 5}
    assert material.items.ids.to_pylist() == ["10", "100", "200", "7", "9"]
    assert material.known_interactions.item_ids.equals(material.items.ids)
    assert list(folder.iterdir()) == []
    letters = tmp_path / "dead_letters.jsonl"
    material.dead_letters.write(letters)
    assert count_by_reason(letters) == {
        small_scenario().data.interactions.path: {"duplicate_interaction": 1}
    }


@pytest.mark.parametrize("minimum", [1, 30])
def test_no_known_interaction_is_a_sample_whatever_the_filter_leaves(tmp_path, minimum):
    config = write_tiny_inputs(tmp_path)
    answers = tmp_path / "item_group_answers.jsonl"
    unfiltered = [
        "split.knowledge_history_cap=30",
        "knowledge.sources=[item]",
        f"knowledge.answers={{item: {{entity: item, collective: [{answers}], groups: none.csv}}}}",
    ]
    filtered = [*unfiltered, f"data.filter.minimum_item_interactions={minimum}"]
    scenario = load_scenario(config, filtered)
    counts = build_examples(scenario)
    known, samples = known_pairs(scenario, tmp_path), sample_pairs(scenario)
    assert known and samples and not known & samples
    # each interaction that is left was known or is a sample: both count the same k_u
    assert len(known) == counts["history_only"] and len(samples) == counts["samples"]
    if minimum > 1:
        assert known_pairs(load_scenario(config, unfiltered), tmp_path) & samples
