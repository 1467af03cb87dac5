from __future__ import annotations

import json

import apache_beam as beam

from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline
from preprocessing.dead_letters import dead_letter
from preprocessing.gathering import gather_dead_letters, gather_statistics, total


def test_several_collections_meet_in_one_file(tmp_path):
    letters = [dead_letter("f", line, "reason", "detail") for line in (3, 1, 2)]

    def build(pipeline: beam.Pipeline) -> None:
        first = pipeline | "First" >> beam.Create([letters[:1], letters[1:]])
        empty = pipeline | "Empty" >> beam.Create([])
        (first, empty) | "Letters" >> gather_dead_letters(tmp_path / "letters.jsonl")
        counts = pipeline | "Counts" >> beam.Create([{"b": 2}, {"a": 1}, {"a": 4}])
        (counts,) | "Statistics" >> gather_statistics(tmp_path / "counts.json")
        (empty,) | "NoLetters" >> gather_dead_letters(tmp_path / "none.jsonl")

    run_pipeline(build, BeamOptions())
    lines = (tmp_path / "letters.jsonl").read_text().splitlines()
    assert [json.loads(line)["line"] for line in lines] == [1, 2, 3]
    counts = json.loads((tmp_path / "counts.json").read_text())
    assert total(counts, "a") == 5 and total(counts, "b") == 2 and total(counts, "c") == 0
    assert (tmp_path / "none.jsonl").read_bytes() == b""
