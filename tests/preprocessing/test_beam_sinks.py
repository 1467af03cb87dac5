from __future__ import annotations

import json

import apache_beam as beam
import pytest

from preprocessing import dead_letters
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.beam_sinks import GatherDeadLetters, gather_statistics, total
from preprocessing.dead_letters import dead_letter
from tests.preprocessing import shared_file_system


def test_several_collections_meet_in_one_file(tmp_path):
    letters = [dead_letter("f", line, "reason", "detail") for line in (3, 1, 2)]

    def build(pipeline: beam.Pipeline) -> None:
        first = pipeline | "First" >> beam.Create([letters[:1], letters[1:]])
        empty = pipeline | "Empty" >> beam.Create([])
        (first, empty) | "Letters" >> GatherDeadLetters(tmp_path / "letters.jsonl")
        counts = pipeline | "Counts" >> beam.Create([{"b": 2}, {"a": 1}, {"a": 4}])
        (counts,) | "Statistics" >> gather_statistics(tmp_path / "counts.json")
        (empty,) | "NoLetters" >> GatherDeadLetters(tmp_path / "none.jsonl")

    run_pipeline(build, BeamOptions())
    lines = (tmp_path / "letters.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2, 3]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert total(counts, "a") == 5 and total(counts, "b") == 2 and total(counts, "c") == 0
    assert (tmp_path / "none.jsonl").read_bytes() == b""
    assert {path.name for path in tmp_path.iterdir()} == {
        "letters.jsonl", "counts.json", "none.jsonl",
    }  # fmt: skip


@pytest.mark.parametrize("place", ["local", "url"])
def test_dead_letters_are_never_together_in_one_element(tmp_path, monkeypatch, place):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    monkeypatch.setattr(dead_letters, "_LETTERS_PER_RUN", 10)
    path = "shared://letters.jsonl" if place == "url" else str(tmp_path / "letters.jsonl")
    held, write = [], dead_letters.write_dead_letters

    def write_dead_letters(run, letters):
        held.append(len(letters))
        write(run, letters)

    monkeypatch.setattr(dead_letters, "write_dead_letters", write_dead_letters)

    def build(pipeline: beam.Pipeline) -> None:
        starts = pipeline | beam.Create(range(0, 100, 5)) | beam.Reshuffle()
        letters = starts | beam.Map(
            lambda start: [dead_letter("f", 100 - start - row, "r", "") for row in range(5)]
        )
        (letters,) | "Letters" >> GatherDeadLetters(path)

    run_pipeline(build, BeamOptions())
    assert len(held) >= 10 and max(held) <= 10
    lines = (tmp_path / "letters.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == list(range(1, 101))
    assert [entry.name for entry in tmp_path.rglob("*") if entry.is_file()] == ["letters.jsonl"]
