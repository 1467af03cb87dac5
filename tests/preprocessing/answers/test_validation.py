from __future__ import annotations

import pytest

from configs.command_line import RejectedInput
from configs.loading import ConfigurationError
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.validation import validate_answers
from tests.preprocessing.answers.small_files import DOCUMENTS, TEXTS, record, write


def test_files_of_all_formats_are_checked_and_nothing_is_written(tmp_path, capsys):
    paths = [
        write(tmp_path / "batch", DOCUMENTS["openai-batch"]),
        write(tmp_path / "records", [record("9", "Sorry, I can't help.", source="user")]),
    ]
    before = sorted(tmp_path.iterdir())
    result = validate_answers(paths)
    assert sorted(tmp_path.iterdir()) == before
    assert (result["read"], result["accepted"], result["rejected"]) == (4, 3, 1)
    assert [entry["format"] for entry in result["files"]] == ["openai-batch", "records"]
    assert result["examples"]["refusal"] == [
        {"file": paths[1], "line": 1, "detail": "says 'Sorry'"}
    ]
    assert f"{paths[1]}:1: refusal: says 'Sorry'" in capsys.readouterr().err


def test_source_thresholds_and_strict(tmp_path):
    path = write(tmp_path / "records", [record("1", TEXTS["1"], source="user")])
    assert validate_answers([path], source="user", strict=True)["rejected"] == 0
    assert validate_answers([path], source="item")["rejected_by_reason"] == {"source_mismatch": 1}
    with pytest.raises(RejectedInput) as raised:
        validate_answers([path], thresholds=Thresholds(minimum_characters=999), strict=True)
    assert raised.value.result["rejected_by_reason"] == {"too_short": 1}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="none"):
        validate_answers([str(tmp_path / "none")])
