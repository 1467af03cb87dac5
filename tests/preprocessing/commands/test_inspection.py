from __future__ import annotations

import json

import pytest

from tests.preprocessing.answers.small_files import DOCUMENTS, TEXTS, record, write


def test_summary_and_examples(run, tmp_path):
    good = write(tmp_path / "good.json", DOCUMENTS["klg"])
    bad = write(tmp_path / "bad.jsonl", [record("1", TEXTS["1"]), record("2", "Directed by the")])
    code, printed, said = run("validate", "--json", good, bad)
    result = json.loads(printed)
    # The klg file names no source, so its entities are not those of the other file.
    assert code == 0
    assert result["rejected_by_reason"] == {"duplicate_answer": 1, "truncated": 1}
    assert result["examples"]["truncated"][0]["line"] == 2
    assert f"{bad}:2: truncated: ends with" in said

    code, printed, said = run("validate", "--strict", good, bad)
    assert (code, printed) == (3, "") and "2 of 5 answers" in said


def test_options_reach_the_checks(run, tmp_path):
    path = write(tmp_path / "a.jsonl", DOCUMENTS["records"])
    for line, code in [
        ("--strict", 0),
        ("--strict --source user", 3),
        ("--strict --extraction collective", 3),
        ("--strict --minimum-characters 49", 3),
        ("--strict --format records --language en", 0),
    ]:
        assert run("validate", *line.split(), path)[0] == code, line


def test_errors_and_help(run, capsys, tmp_path):
    code, printed, said = run("validate", tmp_path / "none")
    assert (code, printed) == (2, "") and "there is no file" in said and "Traceback" not in said
    with pytest.raises(SystemExit) as raised:
        run("validate", "--help")
    assert raised.value.code == 0
    text = capsys.readouterr().out
    assert "--maximum-repetition" in text and "degenerate_repetition" in text and "klg" in text
