from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import replace

import pytest

from preprocessing.answers.record import (
    Answer,
    RejectedAnswer,
    answer_of,
    batched_lines,
    json_object,
    numbered_lines,
    parse_answer,
)

RECORD = {"source": "item", "entity_id": "318", "extraction": "individual", "answer": " A film. "}


def parse(record: object) -> Answer:
    return parse_answer(json.dumps(record).encode(), "item", "individual")


def test_texts_are_kept_as_they_are():
    plain = Answer("item", "318", "individual", " A film. ")
    assert parse(RECORD) == plain
    digest = hashlib.sha256("Größe?".encode()).hexdigest()
    record = {**RECORD, "prompt": "Größe?", "prompt_sha256": digest.upper(), "usage": {"tokens": 3}}
    assert parse(record) == replace(plain, prompt="Größe?", usage={"tokens": 3})
    assert parse({**RECORD, "prompt": None, "prompt_sha256": "x"}).prompt is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answer": None}, "missing_field"),
        ({"entity_id": ""}, "blank_field"),
        ({"answer": " \t"}, "blank_answer"),
        ({"answer": ["text"]}, "wrong_type"),
        ({"prompt": 3}, "wrong_type"),
        ({"source": "Item"}, "source_mismatch"),
        ({"extraction": "collective"}, "extraction_mismatch"),
        ({"prompt": "p", "prompt_sha256": "0"}, "prompt_hash_mismatch"),
        ({"entity_id": "\udfff"}, "invalid_text"),
        ({"entity_id": "3\n18"}, "invalid_entity_id"),
        ({"entity_id": "318" * 100}, "invalid_entity_id"),
        ({"usage": 3}, "wrong_type"),
        ({"model": 3}, "wrong_type"),
        ({"interactions_seen": "3"}, "wrong_type"),
        ({"interactions_seen": True}, "wrong_type"),
        ({"finish_reason": 5}, "wrong_type"),
        ({"interactions_seen": -1}, "wrong_type"),
    ],
)
def test_reasons(change, reason):
    with pytest.raises(RejectedAnswer) as raised:
        parse({**RECORD, **change})
    assert raised.value.reason == reason
    assert "318" not in raised.value.detail


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "malformed_json"),
        (b"[" * 100_000, "malformed_json"),
        (b"null", "not_an_object"),
        (b"\xff", "invalid_utf8"),
        (b'{"usage": {"tokens": NaN}}', "malformed_json"),
        (b'{"usage": {"tokens": -Infinity}}', "malformed_json"),
        (b'{"usage": {"tokens": 1e999}}', "malformed_json"),
        (b'{"usage": {"tokens": -1e999}}', "malformed_json"),
        (b'{"usage": {"tokens": ' + b"1" * 5000 + b"}}", "malformed_json"),
        (b'{"answer": "' + b"x" * (8 << 20) + b'"}', "line_too_long"),
        (b" " * ((8 << 20) + 1), "line_too_long"),
    ],
)
def test_lines_that_are_no_records(line, reason):
    with pytest.raises(RejectedAnswer) as raised:
        parse_answer(line, "item", "individual")
    assert raised.value.reason == reason


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"usage": nested(16)}, "wrong_type"),
        ({"usage": nested(200)}, "wrong_type"),
        ({"usage": {"tokens": 1 << 63}}, "wrong_type"),
        ({"usage": {"tokens": [-(10**4000)]}}, "wrong_type"),
        ({"usage": {"by": "half \ud800"}}, "invalid_text"),
        ({"usage": {"half \ud800": 1}}, "invalid_text"),
        ({"factors": {"mood": "half \ud800"}}, "invalid_text"),
        ({"interactions_seen": 10**400}, "wrong_type"),
        ({"interactions_seen": 1 << 31}, "wrong_type"),
        ({"interactions_seen": True}, "wrong_type"),
        ({"finish_reason": 5}, "wrong_type"),
    ],
)
def test_what_no_writer_could_write_is_refused(fields, reason):
    record = {"source": "item", "entity_id": "1", "extraction": "individual", "answer": "x"}
    with pytest.raises(RejectedAnswer) as raised:
        parse_answer(json.dumps(record | fields).encode(), "item", "individual")
    assert raised.value.reason == reason


def test_what_services_report_of_tokens_is_kept():
    usage = {"total_tokens": (1 << 63) - 1, "details": {"cached": [0, 1.5]}, "deep": nested(14)}
    record = {"source": "item", "entity_id": "1", "extraction": "individual", "answer": "x"}
    line = json.dumps({**record, "usage": usage, "interactions_seen": (1 << 31) - 1}).encode()
    answer = parse_answer(line, "item", "individual")
    assert answer.usage == usage and answer.interactions_seen == 2147483647


def test_lines_are_numbered_across_batches_and_blank_ones_left_out(tmp_path):
    path = tmp_path / "answers.jsonl.gz"
    lines = [b"%d" % number if number % 100 else b"" for number in range(1, 601)]
    path.write_bytes(gzip.compress(b"\r\n".join(lines)))
    batches = list(batched_lines(str(path)))
    assert len(batches) > 1
    numbered = [entry for batch in batches for entry in batch]
    assert numbered == [(number, b"%d" % number) for number in range(1, 601) if number % 100]


def test_a_record_is_written_as_the_contract_says_and_read_back():
    answer = Answer("item", "7", "collective", "Größe.", "Was?", "m", {"prompt_tokens": 3})
    record = answer.record()
    assert record == {
        "custom_id": "item/group/7",
        "source": "item",
        "entity_id": "7",
        "extraction": "collective",
        "model": "m",
        "prompt": "Was?",
        "prompt_sha256": hashlib.sha256(b"Was?").hexdigest(),
        "answer": "Größe.",
        "usage": {"prompt_tokens": 3},
    }
    read = answer_of(json_object(json.dumps(record).encode()), "item", None)
    assert replace(read, given_custom_id=None) == answer
    assert read.record() == record
    assert Answer("item", "7", "individual", "x").record()["prompt_sha256"] is None


def test_any_source_and_either_extraction_are_taken_when_none_is_asked_for():
    record = {**RECORD, "source": "user", "extraction": "collective"}
    assert answer_of(record, None, None).source == "user"
    with pytest.raises(RejectedAnswer) as raised:
        answer_of({**record, "extraction": "both"}, None, None)
    assert raised.value.reason == "extraction_mismatch"


def test_lines_are_numbered_and_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "answers.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"b": 2}')
    lines = list(numbered_lines(str(path)))
    assert [(number, json_object(line)) for number, line in lines] == [(1, {"a": 1}), (4, {"b": 2})]
