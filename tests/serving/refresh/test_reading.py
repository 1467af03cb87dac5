from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.loading import ConfigurationError
from serving.refresh.description import RefreshDescription
from serving.refresh.incoming import AnswerFiles, Records, check_source, read_answers
from tests.serving.refresh.descriptions import description, source

_TEXT = "A quiet story of grief, family and silence."
_OTHER = "Horses and dust, and a duel at the end of it."


def read(
    path: Path, lines: list[dict], of: RefreshDescription, source_name: str | None = None
) -> Records:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    records = Records()
    read_answers(AnswerFiles([str(path)]), source_name, of, records)
    return records


def line(source_name: str, entity_id: str, text: str, **more: object) -> dict:
    return {
        "source": source_name,
        "entity_id": entity_id,
        "extraction": "individual",
        "answer": text,
        **more,
    }


def test_records_name_their_source(tmp_path: Path) -> None:
    lines = [
        line("item", "7", _TEXT),
        line("user", "u", _OTHER),
        line("film", "8", f"{_TEXT} The end."),
    ]
    records = read(tmp_path / "a.jsonl", lines, description())
    assert [(e.source, e.entity_id, e.text) for e in records.entries] == [
        ("item", "7", _TEXT),
        ("user", "u", _OTHER),
    ]
    ((place, (reason, detail)),) = records.rejections.items()
    assert (place.line, reason) == (3, "unknown_source")
    assert detail == "'film'; there are: item, user; --source names that of a file"
    assert records.summary(records.entries)["read"] == 3


def test_an_openai_batch_needs_no_source(tmp_path: Path) -> None:
    body = {"choices": [{"message": {"content": _TEXT}, "finish_reason": "stop"}]}
    lines = [
        {"custom_id": "item/318", "response": {"status_code": 200, "body": body}, "error": None},
        {
            "custom_id": "item/group/7",
            "response": {
                "status_code": 200,
                "body": {"choices": [{"message": {"content": _OTHER}, "finish_reason": "stop"}]},
            },
            "error": None,
        },
    ]
    records = read(tmp_path / "batch.jsonl", lines, description())
    assert [(e.entity_id, e.collective) for e in records.entries] == [("318", False), ("7", True)]


def test_a_structured_answer_is_of_the_sources_of_all_its_factors(tmp_path: Path) -> None:
    described = description(
        item_genre=source(factor="genre"), item_mood=source(factor="mood"), user=source()
    )
    answered = json.dumps({"genre": "a western with horses", "mood": "dusty and slow"})
    missing = json.dumps({"genre": "a comedy with jokes, and more"})
    lines = [line("item", "1", answered), line("item", "2", missing)]
    records = read(tmp_path / "a.jsonl", lines, described)
    assert [(e.source, e.entity_id, e.text) for e in records.entries] == [
        ("item_genre", "1", "a western with horses"),
        ("item_mood", "1", "dusty and slow"),
        ("item_genre", "2", "a comedy with jokes, and more"),
    ]
    # The second record is accepted for one of its factors.
    assert records.summary(records.entries)["rejected"] == 0


def test_texts_for_a_source_made_of_vectors_are_rejected(tmp_path: Path) -> None:
    records = read(
        tmp_path / "a.jsonl",
        [line("item", "1", _TEXT)],
        description(item=source(made_from="vectors")),
    )
    assert [reason for reason, _ in records.rejections.values()] == ["vectors_only"]


def test_a_history_joins_the_text_of_a_user(tmp_path: Path) -> None:
    described = description(user=source(entity="user", history_entry_pattern=" stars;"))
    encoder = described.encoder.model_copy(update={"text": "history_and_answer"})
    described = described.model_copy(update={"encoder": encoder})
    prompt = "The user rated: Film 3 5 stars; Film 9 2 stars;"
    records = read(tmp_path / "a.jsonl", [line("user", "u", _TEXT, prompt=prompt)], described)
    (entry,) = records.entries
    assert entry.text == f"Film 3 5 stars; Film 9 2 stars. {_TEXT}"


def test_only_sources_that_the_model_reads_can_change() -> None:
    described = description(
        item=source(), item_mood=source(factor="mood"), likes=source(made_from="collaborative")
    )
    check_source(described, "item", "out/1")
    check_source(described, "item_mood", "out/1")
    with pytest.raises(ConfigurationError, match="model in out/1 reads no source 'film'"):
        check_source(described, "film", "out/1")
    with pytest.raises(ConfigurationError, match="'likes' are collaborative"):
        check_source(described, "likes", "out/1")
