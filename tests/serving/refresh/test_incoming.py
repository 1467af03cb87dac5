from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from configs.command_line import CommandError
from configs.knowledge import Encoder
from configs.loading import ConfigurationError
from preprocessing.answers.record import Location
from preprocessing.encoders.tfidf import TfidfEncoder
from serving.refresh.incoming import (
    AnswerFiles,
    Entry,
    IncomingRecords,
    check_source,
    encode_entries,
    read_answers,
    read_vectors,
    source_of_vectors,
)
from serving.refresh.version import RefreshDescription
from tests.serving.refresh.descriptions import description, source


def test_a_record_is_accepted_when_any_of_its_entries_is_used() -> None:
    places = [Location("new.jsonl", line) for line in range(1, 5)]
    entries = [
        Entry(places[0], "mood", False, "1", text="slow"),
        Entry(places[0], "genre", False, "1", text="western"),
        Entry(places[1], "mood", False, "2", text="..."),
    ]
    records = IncomingRecords(places, entries)
    records.reject(places[0], "zero_vector", "of mood")
    records.reject(places[1], "zero_vector", "of mood")
    records.reject(places[1], "missing_factor", "a second reason")
    records.reject(places[2], "too_short", "")
    records.reject(places[3], "too_short", "")
    assert records.summary([entries[1]]) == {
        "read": 4,
        "accepted": 1,
        "rejected": 3,
        "rejected_by_reason": {"too_short": 2, "zero_vector": 1},
        "members_left_out": {},
    }
    assert records.rejected([entries[1]])[places[1]] == ("zero_vector", "of mood")


_TEXT = "A quiet story of grief, family and silence."
_OTHER = "Horses and dust, and a duel at the end of it."


def read(
    path: Path, lines: list[dict], of: RefreshDescription, source_name: str | None = None
) -> IncomingRecords:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    records = IncomingRecords()
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


def test_every_record_becomes_an_entry_or_is_rejected(tmp_path: Path) -> None:
    rows = [
        ("7", [1.0, 2.0, 3.0], ""),
        ("", [1.0, 2.0, 3.0], ""),
        ("8", [1.0, 2.0], ""),
        ("8", [4.0, 5.0, 6.0], "individual"),
        ("8", [7.0, 8.0, 9.0], "individual"),
        ("8", [7.0, 8.0, 9.0], "collective"),
        ("9", [7.0, 8.0, 9.0], "guessed"),
        ("10", None, ""),
    ]
    path = tmp_path / "new.parquet"
    ids, vectors, extractions = zip(*rows, strict=True)
    table = {"entity_id": ids, "vector": vectors, "extraction": extractions}
    parquet.write_table(pa.table({name: list(column) for name, column in table.items()}), path)
    records = IncomingRecords()
    read_vectors([str(path)], "item", description(), records)
    actual = [(e.entity_id, e.collective, np.asarray(e.vector).tolist()) for e in records.entries]
    assert actual == [
        ("7", False, [1, 2, 3]),
        ("8", False, [4, 5, 6]),
        ("8", True, [7, 8, 9]),
    ]
    reasons = {place.line: reason for place, (reason, _) in records.rejections.items()}
    assert reasons == {
        2: "blank_field",
        3: "wrong_width",
        5: "duplicate_entity",
        7: "extraction_mismatch",
        8: "missing_field",
    }
    summary = records.summary(records.entries)
    assert (summary["read"], summary["accepted"], summary["rejected"]) == (8, 3, 5)


def test_the_source_must_be_named() -> None:
    assert source_of_vectors(description(), "item") == "item"
    with pytest.raises(ConfigurationError, match="--source: files of vectors do not say"):
        source_of_vectors(description(), None)
    with pytest.raises(ConfigurationError, match="'film' is no single source of the model"):
        source_of_vectors(description(), "film")


_TEXTS = ["horses and dust", "jokes and wit", "grief and dust", "horses and jokes"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    TfidfEncoder.prepare(Encoder(kind="tfidf", dimension=3), _TEXTS, str(tmp_path))
    return tmp_path


def entry(line: int, text: str | None, vector: list[float] | None = None) -> Entry:
    given = None if vector is None else np.array(vector)
    return Entry(Location("new", line), "item", False, str(line), text, given)


def test_texts_and_vectors_become_float16_vectors_in_order(folder: Path) -> None:
    entries = [entry(1, _TEXTS[2]), entry(2, None, [0.1, 2, 3]), entry(3, _TEXTS[2])]
    used, vectors = encode_entries(entries, "item", description(), folder, IncomingRecords())
    frozen = TfidfEncoder.load(Encoder(kind="tfidf", dimension=3), str(folder))
    (expected,) = frozen.encode([_TEXTS[2]]).vectors.astype(np.float16)
    assert used == entries
    assert vectors.dtype == np.float16
    np.testing.assert_array_equal(vectors[[0, 2]], [expected, expected])
    np.testing.assert_array_equal(vectors[1], np.array([0.1, 2, 3], np.float16))


def test_vectors_without_content_are_rejected(folder: Path) -> None:
    records = IncomingRecords()
    entries = [
        entry(1, "unheard of"),
        entry(2, None, [0, 0, 0]),
        entry(3, None, [1e6, 0, 0]),
        entry(4, _TEXTS[0]),
    ]
    used, vectors = encode_entries(entries, "item", description(), folder, records)
    assert (used, len(vectors)) == ([entries[3]], 1)
    reasons = [reason for reason, _ in records.rejections.values()]
    assert reasons == ["zero_vector", "zero_vector", "non_finite_vector"]


def test_another_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    wide = description(item=source(dimension=4))
    with pytest.raises(CommandError, match="width 3, and those of source 'item' have 4"):
        encode_entries([entry(1, _TEXTS[0])], "item", wide, folder, IncomingRecords())
    with pytest.raises(CommandError, match="cannot be read.*bring vectors with --vectors"):
        encode_entries(
            [entry(1, _TEXTS[0])], "item", description(), tmp_path / "x", IncomingRecords()
        )
