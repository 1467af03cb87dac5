from __future__ import annotations

from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.knowledge import SourceAnswers
from serving.refresh.description import RefreshFolder, made_from, read_description
from tests.serving.refresh.descriptions import description, source


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = description(item=source(factor="genre", length_scale=0.5, encoder={"kind": "tfidf"}))
    folder = RefreshFolder(tmp_path)
    folder.path.mkdir(parents=True)
    written.write(folder)
    assert read_description(tmp_path) == written


def test_what_a_source_takes_depends_on_what_it_is_made_from() -> None:
    found = {
        origin: (source(made_from=origin).takes_answers, source(made_from=origin).takes_vectors)
        for origin in ("answers", "metadata", "vectors", "random", "collaborative")
    }
    assert found == {
        "answers": (True, True),
        "metadata": (True, True),
        "vectors": (False, True),
        "random": (False, False),
        "collaborative": (False, False),
    }


def test_an_older_export_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"refresh\.json is missing.*export again"):
        read_description(tmp_path)
    folder = RefreshFolder(tmp_path)
    folder.path.mkdir(parents=True)
    folder.description.write_text('{"sources": 1}', encoding="utf-8")
    with pytest.raises(CommandError, match=r"refresh\.json is damaged"):
        read_description(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    folder = RefreshFolder(tmp_path)
    folder.path.mkdir(parents=True)
    text = description().model_dump_json()
    folder.description.write_text(text.replace('"format_version":1', '"format_version":2'))
    with pytest.raises(CommandError, match="of another version of the code .1 fields"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ({"individual": ["a.jsonl"]}, "answers"),
        ({"vectors": ["v.parquet"]}, "vectors"),
        ({"metadata": ["genres"]}, "metadata"),
        ({"random": {"dimension": 3}}, "random"),
        ({"collaborative": {"dimension": 3}}, "collaborative"),
    ],
)
def test_the_configuration_says_what_a_source_is_made_from(
    setting: dict[str, object], origin: str
) -> None:
    assert made_from(SourceAnswers.model_validate({"entity": "item", **setting})) == origin
