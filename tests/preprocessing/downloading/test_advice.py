from __future__ import annotations

from pathlib import Path

from preprocessing.downloading.advice import by_hand
from preprocessing.downloading.data_sets import DATA_SETS


def test_members_of_an_archive_and_the_next_command():
    text = by_hand(DATA_SETS["movielens_100k"], Path("data/movielens_100k"))
    assert "  https://files.grouplens.org/datasets/movielens/ml-100k.zip\n" in text
    assert "    ml-100k/u.data in it is data/movielens_100k/u.data\n" in text
    assert text.endswith("  python -m preprocessing all --config configs/movielens_100k.yaml")


def test_files_that_stay_as_they_come_and_other_addresses():
    text = by_hand(DATA_SETS["amazon_books"], Path("books"))
    assert "    as it comes is books/Books_5.json.gz\n" in text
    assert text.count("    or https://") == 2 and "--mirror http://HOST/FOLDER" in text
