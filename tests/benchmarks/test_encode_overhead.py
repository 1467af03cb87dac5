from __future__ import annotations

import argparse
import json

import pytest

from benchmarks import encode_overhead


@pytest.mark.slow
def test_every_measure_is_a_json_line(repository_root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(repository_root)
    encode_overhead.main(["--answers", "60", "--kind", "tfidf", "--folder", str(tmp_path)])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("program", "ratio") for line in lines] == [
        "encoder alone",
        "step, nothing kept",
        "step, everything kept",
        "ratio",
    ]
    assert {line["answers"] for line in lines} == {60} and {line["seed"] for line in lines} == {1}
    alone, step, _, ratio = lines
    assert ratio["step_to_encoder_seconds"] == pytest.approx(
        step["seconds"] / alone["seconds"], rel=2e-3
    )
    assert step["cores"] >= 1


def test_more_answers_than_there_are_stay_distinct(repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    parsed = argparse.Namespace(files=encode_overhead._BUNDLED, answers=7000, seed=3)
    texts = encode_overhead._some_texts(parsed)
    assert len(texts) == len(set(texts)) == 7000


def test_another_folder_is_explained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="run this in the root of the repository"):
        encode_overhead.main(["--answers", "3"])
