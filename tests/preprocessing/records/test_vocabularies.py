from __future__ import annotations

import pytest

from preprocessing.records.contract import DamagedRecords
from preprocessing.records.item_tables import order_by_count, read_vocabulary, write_vocabulary


def test_frequent_values_come_first_and_equal_ones_in_text_order():
    assert order_by_count({"b": 2, "a": 2, "10": 1, "9": 1, "z": 5}) == ["z", "a", "b", "10", "9"]


def test_values_survive_the_file(tmp_path):
    values = ["Größe", " spaces ", "(no genres listed)", "\u2028"]
    path = tmp_path / "vocabularies" / "genres.txt"
    write_vocabulary(path, values)
    assert read_vocabulary(path) == values
    write_vocabulary(path, [])
    assert read_vocabulary(path) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a\nb", "cut off"), (b"a\na\n", "twice"), (b"\xff\n", "cannot be read")],
)
def test_damaged_files_are_refused(tmp_path, content, message):
    path = tmp_path / "item_id.txt"
    path.write_bytes(content)
    with pytest.raises(DamagedRecords, match=f"item_id.txt.*{message}"):
        read_vocabulary(path)


def test_a_missing_file_is_explained(tmp_path):
    with pytest.raises(DamagedRecords, match="run 'python -m preprocessing examples' first"):
        read_vocabulary(tmp_path / "absent.txt")
