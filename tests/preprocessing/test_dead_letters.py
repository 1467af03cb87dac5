from __future__ import annotations

import json
import random
import tracemalloc

import pytest

from preprocessing import dead_letters, storage
from preprocessing import dead_letters as dead_letter_runs
from preprocessing.dead_letters import (
    DeadLetter,
    DeadLetterRuns,
    count_by_reason,
    dead_letter,
    merge_runs,
    read_dead_letter_batches,
    read_dead_letters,
    write_dead_letters,
)
from tests.preprocessing import shared_file_system


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


@pytest.fixture(params=["local", "url"])
def folder(request, tmp_path, monkeypatch) -> str:
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    return "shared://work" if request.param == "url" else str(tmp_path / "work")


def shuffled_letters() -> list[DeadLetter]:
    letters = [
        dead_letter(f"file {number % 3}", number, reason, "Größe")
        for number in range(40)
        for reason in ("b", "a")
    ]
    random.Random(0).shuffle(letters)
    return letters


def sorted_lines(letters: list[DeadLetter]) -> bytes:
    """What the file must hold: JSON lines by file, line as a number, reason."""
    ordered = sorted(letters, key=lambda letter: [*letter.values()])
    return b"".join(json.dumps(letter).encode() + b"\n" for letter in ordered)


@pytest.mark.parametrize("letters_per_run", [1, 7, 1000])
def test_many_runs_give_the_bytes_of_one_sort(folder, monkeypatch, letters_per_run):
    monkeypatch.setattr(dead_letter_runs, "_LETTERS_PER_RUN", letters_per_run)
    monkeypatch.setattr(dead_letter_runs, "_RUNS_PER_MERGE", 3)
    letters = shuffled_letters()
    runs = DeadLetterRuns(storage.join(folder, "runs"))
    runs.add(letters[:30])
    runs.add(iter(letters[30:]))
    path = storage.join(folder, "dead_letters.jsonl")
    for _ in range(2):
        runs.write(path)
        with storage.open_bytes(path) as file:
            assert file.read() == sorted_lines(letters)


def test_runs_of_several_workers_share_a_folder(folder):
    letters = shuffled_letters()
    workers = [DeadLetterRuns(folder), DeadLetterRuns(folder)]
    for number, letter in enumerate(letters):
        workers[number % 2].add([letter])
    paths = [run for worker in workers for run in worker.stored()]
    assert len(set(paths)) == 2
    merge_runs(paths, storage.join(folder, "all"), folder)
    with storage.open_bytes(storage.join(folder, "all")) as file:
        assert file.read() == sorted_lines(letters)


def test_no_more_files_are_open_than_a_merge_may_read(tmp_path, monkeypatch):
    opened, most = [], 0

    def open_bytes(path):
        nonlocal most
        opened.append(open(path, "rb"))
        most = max(most, sum(not file.closed for file in opened))
        return opened[-1]

    runs = []
    for number in range(200):
        runs.append(str(tmp_path / f"{number}.jsonl"))
        write_dead_letters(runs[-1], [dead_letter("f", 200 - number, "r", "")] * 2)
    monkeypatch.setattr(storage, "open_bytes", open_bytes)
    merge_runs(runs, tmp_path / "all", str(tmp_path / "runs"))
    assert 1 < most <= dead_letter_runs._RUNS_PER_MERGE
    lines = (tmp_path / "all").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == sorted([*range(1, 201)] * 2)


def test_memory_holds_a_small_part(tmp_path, monkeypatch):
    monkeypatch.setattr(dead_letter_runs, "_LETTERS_PER_RUN", 500)
    runs = DeadLetterRuns(tmp_path / "runs")
    tracemalloc.start()
    for first in range(0, 20_000, 100):
        runs.add(
            [
                dead_letter("f", line, "missing", f"{line:0100}")
                for line in range(first, first + 100)
            ]
        )
    runs.write(tmp_path / "all")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000 * 100 / 2  # characters of the details alone
    assert len((tmp_path / "all").read_bytes().splitlines()) == 20_000


def test_nothing_rejected_is_an_empty_file(folder):
    DeadLetterRuns(storage.join(folder, "runs")).write(storage.join(folder, "none"))
    assert storage.files_below(folder) == [storage.join(folder, "none")]
