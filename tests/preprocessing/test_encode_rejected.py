from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest

from configs.command_line import CommandError, RejectedInput
from configs.loading import ConfigurationError
from preprocessing.encode import encode
from preprocessing.encoders.text_encoder import EncodedTexts
from preprocessing.encoders.tfidf import TfidfEncoder
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.encoders.embeddings_server import (
    EmbeddingsCall,
    embeddings,
    embeddings_server,
)
from tests.preprocessing.generation.chat_server import Reply, failure
from tests.preprocessing.small_data import ANSWERS, letters_of, write_lines


def test_bad_answers_become_dead_letters_with_line_and_reason(small_scenario, small_folder):
    good = ANSWERS[0]
    prompt = {"prompt": "Introduce Größe", "prompt_sha256": "0" * 64}
    right = {**prompt, "prompt_sha256": hashlib.sha256("Introduce Größe".encode()).hexdigest()}
    lines = [
        json.dumps(good).encode(),
        b"{not json",
        b"[1, 2]",
        json.dumps({key: good[key] for key in good if key != "answer"}).encode(),
        json.dumps({**good, "entity_id": " "}).encode(),
        json.dumps({**good, "answer": "\n"}).encode(),
        json.dumps({**good, "entity_id": 10}).encode(),
        json.dumps({**good, "source": "user"}).encode(),
        json.dumps({**good, "extraction": "collective"}).encode(),
        json.dumps({**good, "entity_id": "8", **prompt}).encode(),
        b"",
        b'{"answer": "\xff"}',
        json.dumps({**good, "entity_id": "8", "answer": "\ud800"}).encode(),
        json.dumps({**good, "entity_id": "6", "answer": "! ? !"}).encode(),
        json.dumps({**good, "answer": "a second answer"}).encode(),
        json.dumps({**good, "entity_id": "8", **right}).encode(),
    ]
    (small_folder / "answers.jsonl").write_bytes(b"\n".join(lines))
    scenario = small_scenario()
    result = encode(scenario)
    assert letters_of(scenario) == [
        ("answers.jsonl", 2, "malformed_json"),
        ("answers.jsonl", 3, "not_an_object"),
        ("answers.jsonl", 4, "missing_field"),
        ("answers.jsonl", 5, "blank_field"),
        ("answers.jsonl", 6, "blank_answer"),
        ("answers.jsonl", 7, "wrong_type"),
        ("answers.jsonl", 8, "source_mismatch"),
        ("answers.jsonl", 9, "extraction_mismatch"),
        ("answers.jsonl", 10, "prompt_hash_mismatch"),
        ("answers.jsonl", 12, "invalid_utf8"),
        ("answers.jsonl", 13, "invalid_text"),
        ("answers.jsonl", 14, "zero_vector"),
        ("answers.jsonl", 15, "duplicate_entity"),
    ]
    assert (result["records_in"], result["records_out"], result["dead_letters"]) == (17, 4, 13)
    assert read_knowledge(scenario.work_dir, "item").entity_ids == ["10", "100", "5", "8"]
    with pytest.raises(RejectedInput) as raised:
        encode(scenario, strict=True)
    assert raised.value.result["dead_letters"] == 13


def test_bad_group_rows_are_dead_letters_beside_the_answers(small_scenario, small_folder):
    (small_folder / "groups.csv").write_text(
        "item_id,group_id\n10,g1\n100,g1\n100,g2\n,g1\n5,\n3\n", encoding="utf-8"
    )
    scenario = small_scenario()
    result = encode(scenario)
    assert letters_of(scenario) == [
        ("groups.csv", 4, "duplicate_entity"),
        ("groups.csv", 5, "missing_item_id"),
        ("groups.csv", 6, "missing_group_id"),
        ("groups.csv", 7, "wrong_column_count"),
    ]
    assert result["dead_letters"] == 0
    groups = result["sources"]["item"]["groups"]
    assert (groups["records_in"], groups["records_out"], groups["dead_letters"]) == (6, 2, 4)
    with pytest.raises(RejectedInput):
        encode(scenario, strict=True)


def test_the_first_answer_counts_across_files_in_the_configured_order(small_scenario, small_folder):
    write_lines(small_folder / "later.jsonl", [{**ANSWERS[0], "answer": "loud space battle"}])
    files = [str(small_folder / "later.jsonl"), str(small_folder / "answers.jsonl")]
    scenario = small_scenario(knowledge__answers__item__individual=files)
    encode(scenario)
    assert letters_of(scenario) == [("answers.jsonl", 1, "duplicate_entity")]
    knowledge = read_knowledge(scenario.work_dir, "item")
    np.testing.assert_array_equal(
        knowledge.vectors[knowledge.entity_ids.index("10")],
        knowledge.vectors[knowledge.entity_ids.index("9")],
    )


def test_a_source_without_usable_answers_fails_and_says_why(small_scenario, small_folder):
    scenario = small_scenario()
    encode(scenario)
    directory = WorkDirectory(scenario.work_dir).knowledge("item")
    before = directory.manifest.read_bytes()
    renamed = [{**answer, "source": "film"} for answer in ANSWERS]
    write_lines(small_folder / "answers.jsonl", renamed)
    (small_folder / "group_answers.jsonl").write_text("oops\n")
    with pytest.raises(CommandError) as raised:
        encode(scenario)
    message = str(raised.value)
    assert "knowledge.answers.item: every answer was rejected" in message
    assert "(source_mismatch 3, malformed_json 1)" in message
    assert "answers.jsonl, line 1: the record says source 'film', but 'item' was asked" in message
    assert directory.manifest.read_bytes() == before
    assert os.listdir(directory.path.parent) == ["item"]


def test_vectors_without_content_are_no_source(small_scenario, monkeypatch):
    nothing = EncodedTexts(np.zeros([5, 3], np.float32))
    monkeypatch.setattr(TfidfEncoder, "encode", lambda _, texts: nothing)
    scenario = small_scenario()
    with pytest.raises(CommandError, match=r"every answer was rejected \(zero_vector 5\)"):
        encode(scenario)
    assert not WorkDirectory(scenario.work_dir).knowledge("item").path.exists()


def test_empty_answer_files_are_no_source(small_scenario, small_folder):
    (small_folder / "answers.jsonl").write_text("")
    (small_folder / "group_answers.jsonl").write_text("\n")
    with pytest.raises(CommandError, match=r"there are no answers in .*answers\.jsonl, .*group_an"):
        encode(small_scenario())


def test_wrong_configuration_is_explained(small_scenario, small_folder):
    with pytest.raises(ConfigurationError, match=r"no source 'film'.*\(there: item\)"):
        encode(small_scenario(), sources=["film"])
    with pytest.raises(ConfigurationError, match=r"knowledge\.answers\.item\.individual"):
        encode(small_scenario(knowledge__answers__item__individual=["absent.jsonl"]))
    (small_folder / "groups.csv").write_text("movie,group_id\n1,g1\n")
    with pytest.raises(ConfigurationError, match="no column 'item_id'"):
        encode(small_scenario())
    (small_folder / "groups.csv").write_text("item_id,group_id\n")
    cut = small_folder / "cut.jsonl.gz"
    cut.write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(CommandError, match="cut off"):
        encode(small_scenario(knowledge__answers__item__individual=[str(cut)]))


def test_rejected_answers_are_explained(small_scenario, small_folder, capsys):
    write_lines(small_folder / "answers.jsonl", [*ANSWERS, {**ANSWERS[0], "entity_id": ""}])
    encode(small_scenario())
    assert "  1 blank_field: a field is empty" in capsys.readouterr().err


def test_the_key_of_an_embeddings_endpoint_is_written_nowhere(
    small_scenario, small_folder, monkeypatch, capsys
):
    key = "sk-of-the-encoder-42"
    monkeypatch.setenv("OPENAI_API_KEY", f"{key}\n")  # as mounted secrets end

    def tell_tale(call: EmbeddingsCall) -> Reply:
        assert call.authorization == f"Bearer {key}"
        if "refused" in call.texts[0]:
            return failure(400, f"you sent {call.authorization}")
        return embeddings(call)

    refused = {**ANSWERS[0], "entity_id": "8", "answer": "a text that is refused"}
    write_lines(small_folder / "answers.jsonl", [ANSWERS[0], refused])
    with embeddings_server(tell_tale) as server:
        encoder = {"kind": "endpoint", "model": "toy", "base_url": server.url, "batch_size": 1}
        scenario = small_scenario(knowledge__encoder=encoder)
        encode(scenario)
        with embeddings_server(lambda call: failure(401, f"bad {call.authorization}")) as closed:
            encoder["base_url"] = closed.url
            with pytest.raises(CommandError, match=r"bad Bearer \[key\]"):
                encode(
                    small_scenario(knowledge__encoder=encoder, work_dir=str(small_folder / "other"))
                )
    letters = WorkDirectory(scenario.work_dir).knowledge("item").dead_letters
    assert "you sent Bearer [key]" in letters.read_text()
    assert key not in "".join(capsys.readouterr())
    for path in small_folder.rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path
