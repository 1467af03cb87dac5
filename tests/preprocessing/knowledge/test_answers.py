from __future__ import annotations

import gzip
import hashlib
import json

import pytest

from preprocessing.knowledge.answers import Answer, RejectedAnswer, parse_answer, read_answer_lines

RECORD = {"source": "item", "entity_id": "318", "extraction": "individual", "answer": " A film. "}


def parse(record: object) -> Answer:
    return parse_answer(json.dumps(record).encode(), "item", "individual")


def test_texts_are_kept_as_they_are():
    assert parse(RECORD) == Answer("318", " A film. ", None)
    digest = hashlib.sha256("Größe?".encode()).hexdigest()
    record = {**RECORD, "prompt": "Größe?", "prompt_sha256": digest.upper(), "usage": {"tokens": 3}}
    assert parse(record) == Answer("318", " A film. ", "Größe?")
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
    ],
)
def test_lines_that_are_no_records(line, reason):
    with pytest.raises(RejectedAnswer) as raised:
        parse_answer(line, "item", "individual")
    assert raised.value.reason == reason


def test_lines_are_numbered_across_batches_and_blank_ones_left_out(tmp_path):
    path = tmp_path / "answers.jsonl.gz"
    lines = [b"%d" % number if number % 100 else b"" for number in range(1, 601)]
    path.write_bytes(gzip.compress(b"\r\n".join(lines)))
    batches = list(read_answer_lines(str(path), "individual"))
    assert len(batches) > 1
    numbered = [entry for batch in batches for entry in batch.numbered()]
    assert numbered == [(number, b"%d" % number) for number in range(1, 601) if number % 100]
