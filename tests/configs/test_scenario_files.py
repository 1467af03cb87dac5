from __future__ import annotations

from pathlib import Path

import pytest

from configs.loading import load_scenario

NAMES = (
    "amazon_books", "goodbooks_10k", "movielens_100k", "movielens_1m", "movielens_latest",
    "movielens_small", "movielens_small_controls",
)  # fmt: skip
DOWNLOADED = [name for name in NAMES if not name.startswith("movielens_small")]


def test_every_scenario_file_is_known_here(repository_root: Path) -> None:
    assert sorted(path.stem for path in (repository_root / "configs").glob("*.yaml")) == sorted(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_scenario_files_load(repository_root: Path, name: str) -> None:
    assert load_scenario(repository_root / "configs" / f"{name}.yaml").name == name


@pytest.mark.parametrize("name", DOWNLOADED)
def test_data_sets_lie_in_their_own_folders(repository_root: Path, name: str) -> None:
    scenario = load_scenario(repository_root / "configs" / f"{name}.yaml")
    data = scenario.data
    tables = [data.interactions, data.catalogue, *([data.profiles] if data.profiles else [])]
    paths = [path for table in tables for path in table.paths]
    paths += [
        path
        for answers in scenario.knowledge.answers.values()
        for path in (*answers.individual, *answers.collective)
    ]
    assert all(path.startswith(f"data/{name}/") for path in paths)
    assert scenario.work_dir == f"out/{name}"
    assert scenario.prompts.scenario == ("movies" if "movielens" in name else "books")


def test_the_protocols_of_the_method(repository_root: Path) -> None:
    books = load_scenario(repository_root / "configs/amazon_books.yaml")
    assert books.data.filter.minimum_user_interactions == 60
    assert books.data.filter.minimum_item_interactions == 40
    assert books.data.positive_rating == 5.0
    assert books.split.knowledge_history_cap == 15
    movies = load_scenario(repository_root / "configs/movielens_1m.yaml")
    assert movies.data.filter.keeps_everything
    assert movies.data.positive_rating == 4.0
    assert movies.split.knowledge_history_cap == 30
