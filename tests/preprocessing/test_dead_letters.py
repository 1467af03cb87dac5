from __future__ import annotations

from preprocessing import dead_letters
from preprocessing.dead_letters import (
    count_by_reason,
    dead_letter,
    read_dead_letter_batches,
    read_dead_letters,
    write_dead_letters,
)


def test_letters_are_sorted_counted_and_read_back(tmp_path):
    path = tmp_path / "dead_letters.jsonl"
    letters = [
        dead_letter("b", 1, "x", "detail"),
        dead_letter("a", 10, "y", "Größe"),
        dead_letter("a", 9, "x", "z" * 500),
        dead_letter("a", 11, "x", ""),
    ]
    write_dead_letters(path, letters)
    read = list(read_dead_letters(path))
    assert [(letter["file"], letter["line"]) for letter in read] == [
        ("a", 9), ("a", 10), ("a", 11), ("b", 1),
    ]  # fmt: skip
    assert read[1] == {"file": "a", "line": 10, "reason": "y", "detail": "Größe"}
    assert read[0]["detail"] == "z" * 120 + "..."
    assert count_by_reason(path) == {"a": {"x": 2, "y": 1}, "b": {"x": 1}}
    write_dead_letters(path, [])
    assert path.read_bytes() == b"" and count_by_reason(path) == {}


def test_batches_are_of_bounded_length(tmp_path, monkeypatch):
    monkeypatch.setattr(dead_letters, "_LETTERS_PER_BATCH", 4)
    letters = [dead_letter("f", line, "r", "") for line in range(10)]
    write_dead_letters(tmp_path / "letters", letters)
    batches = list(read_dead_letter_batches(tmp_path / "letters"))
    assert list(map(len, batches)) == [4, 4, 2] and sum(batches, []) == letters
