from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from preprocessing.downloading.advice import by_hand, missing_data_advice, next_commands
from preprocessing.downloading.data_sets import DATA_SETS


def test_members_of_an_archive_and_the_next_command():
    text = by_hand(DATA_SETS["movielens_100k"], Path("data/movielens_100k"))
    assert "  https://files.grouplens.org/datasets/movielens/ml-100k.zip\n" in text
    assert "    ml-100k/u.data in it is data/movielens_100k/u.data\n" in text
    assert (
        "  python -m preprocessing prompts --config configs/movielens_100k.yaml --dry-run\n" in text
    )
    assert "  python -m preprocessing examples --config configs/movielens_100k.yaml " in text


def test_files_that_stay_as_they_come_and_other_addresses():
    text = by_hand(DATA_SETS["amazon_books"], Path("books"))
    assert "    as it comes is books/Books_5.json.gz\n" in text
    assert text.count("    or https://") == 2 and "--mirror http://HOST/FOLDER" in text


def test_the_configuration_is_told_of_another_folder():
    for command in next_commands(DATA_SETS["movielens_100k"], Path("my data")):
        words = shlex.split(command)
        assert "data.interactions.path=my data/u.data" in words
        assert "data.catalogue.path=my data/u.item" in words
        assert "data.profiles.path=my data/u.user" in words
    for command in next_commands(DATA_SETS["movielens_100k"], Path("data/movielens_100k")):
        assert ".path=" not in command


@pytest.mark.parametrize(
    ("path", "data_set"),
    [
        ("data/goodbooks_10k/ratings.csv", "goodbooks_10k"),
        ("./data/amazon_books/*.gz", "amazon_books"),
        ("data/goodbooks_10k/answers/item/answers.jsonl", "goodbooks_10k"),
        ("data/mine/ratings.csv", None),
        ("elsewhere/goodbooks_10k/ratings.csv", None),
        ("ratings.csv", None),
        ("", None),
    ],
)
def test_a_missing_file_of_a_public_data_set_can_be_fetched(path, data_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    advice = missing_data_advice(path)
    assert (f"preprocessing download {data_set} " in advice) == (data_set is not None)
    assert bool(advice) == (data_set is not None)


def test_a_data_set_that_is_there_need_not_be_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "goodbooks_10k"
    folder.mkdir(parents=True)
    for name in DATA_SETS["goodbooks_10k"].files:
        assert missing_data_advice("data/goodbooks_10k/answers/answers.jsonl")
        (folder / name).write_text("")
    assert not missing_data_advice("data/goodbooks_10k/answers/answers.jsonl")
