from __future__ import annotations

import gzip
import json

import pytest

from configs.command_line import CommandError, TeachingParser, section_of
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import (
    FORMATS,
    Expected,
    LineFormat,
    detect_format,
    is_batch_line,
    is_chat_line,
    is_id_text,
    is_klg,
    read_batch_line,
    read_chat_line,
    read_id_text_entry,
    read_json_object,
    read_klg_entry,
    read_record,
)
from preprocessing.answers.options import (
    add_answer_options,
    add_quality_options,
    formats_help,
    quality_help,
)
from preprocessing.answers.prompts import Prompt
from preprocessing.answers.record import Answer, RejectedAnswer
from tests.preprocessing.answers.small_files import DOCUMENTS, batch_line, completion, record, write


def test_files_and_how_to_read_them():
    parser = TeachingParser()
    add_answer_options(parser)
    plain = parser.parse_args(["a", "b"])
    assert (plain.files, plain.format, plain.extraction, plain.strict) == (
        ["a", "b"], "auto", None, False,
    )  # fmt: skip
    full = parser.parse_args("--format klg --extraction collective --strict a".split())
    assert (full.format, full.extraction, full.strict) == ("klg", "collective", True)
    for wrong in ([], ["--format", "xml", "a"], ["--extraction", "both", "a"]):
        with pytest.raises(SystemExit):
            parser.parse_args(wrong)


def test_the_help_names_every_format():
    text = formats_help()
    for name in ("records", "openai-batch", "openai-chat", "klg", "id-text"):
        assert f"  {name} " in text


def test_files_may_be_optional():
    parser = TeachingParser()
    add_answer_options(parser, files_needed=False)
    assert parser.parse_args([]).files == []


@pytest.fixture
def parser() -> TeachingParser:
    parser = TeachingParser()
    add_quality_options(parser)
    return parser


def test_defaults_are_those_of_the_checks(parser):
    assert section_of(parser.parse_args([]), Thresholds) == Thresholds()


def test_every_threshold_has_an_option(parser):
    wanted = Thresholds(
        form="names",
        minimum_characters=1,
        maximum_characters=2,
        truncation="strict",
        language="en",
        maximum_echo=0.25,
        maximum_repetition=0.75,
        maximum_bad_characters=3,
        maximum_placeholders=4,
        allow_duplicates=True,
    )
    line = (
        "--form names --minimum-characters 1 --maximum-characters 2 --truncation strict "
        "--language en --maximum-echo 0.25 --maximum-repetition 0.75 --maximum-bad-characters 3 "
        "--maximum-placeholders 4 --allow-duplicates"
    )
    assert section_of(parser.parse_args(line.split()), Thresholds) == wanted
    for name, field in Thresholds.model_fields.items():
        assert getattr(wanted, name) != field.default, name


@pytest.mark.parametrize(
    "line",
    [
        "--minimum-characters -1",
        "--minimum-characters 1.5",
        "--maximum-echo 1.1",
        "--maximum-echo nan",
        "--maximum-repetition much",
        "--language de",
    ],
)
def test_values_out_of_range_are_refused(parser, capsys, line):
    with pytest.raises(SystemExit) as raised:
        parser.parse_args(line.split())
    assert raised.value.code == 2 and line.split()[0] in capsys.readouterr().err


def test_the_help_names_every_check():
    text = quality_help()
    for reason in ("truncated", "refusal", "prompt_echo", "duplicate_answer", "wrong_language"):
        assert f"  {reason} " in text


@pytest.mark.parametrize("name", FORMATS)
def test_every_document_is_recognised_by_its_own_format_alone(name):
    document = DOCUMENTS[name]
    samples = document if isinstance(FORMATS[name], LineFormat) else [document]
    for sample in samples:
        assert [other for other, form in FORMATS.items() if form.recognises(sample)] == [name]


def test_what_only_looks_like_a_sample_of_a_format_is_none():
    assert is_batch_line({"custom_id": "item/1", "response": None, "error": {}})
    assert not is_batch_line(record("1", "x", custom_id="item/1"))
    assert is_chat_line(completion("x")) and not is_batch_line(completion("x"))
    assert is_id_text({"1": "text", "2": None})
    for other in ({}, record("1", "x"), {"1": 3}, {"1": {"prompt": "Why?"}}, {"prompt": "a"}):
        assert not is_klg(other) and not is_id_text(other)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_format_is_told_by_content(tmp_path, name, suffix):
    assert detect_format(write(tmp_path / f"file{suffix}", DOCUMENTS[name])) == name


@pytest.mark.parametrize("name", ["klg", "id-text"])
def test_objects_may_be_laid_out_over_lines(tmp_path, name):
    path = tmp_path / "file"
    path.write_text(json.dumps(DOCUMENTS[name], indent=1))
    assert detect_format(str(path)) == name


@pytest.mark.parametrize("name", ["records", "openai-batch", "openai-chat"])
def test_broken_lines_do_not_hide_the_format(tmp_path, name):
    lines = [b"", b"{", b"[]", b"\xff", *DOCUMENTS[name], b"{"]
    assert detect_format(write(tmp_path / "file", lines)) == name
    assert detect_format(write(tmp_path / "file", DOCUMENTS[name][:1])) == name


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([record("1", "x"), batch_line("item/2", "x")], "several formats (openai-batch, records)"),
        ([record("1", "x"), batch_line("item/2", "x")], "--format: openai-batch, records"),
        ([{**record("1", "x"), "choices": []}], "several formats (openai-chat, records)"),
        ([{"a": 1}, {"b": 2}], "no format known here"),
        ({"a": 1}, "no format known here"),
        ({"a": 1}, "--format: id-text, klg, openai-batch, openai-chat, r"),
        ({}, "no format known here"),
        ([b"", b" "], "the file is empty"),
        ([b'{"1": nothing'], "line 1, column 7"),
        (["text"], "not a JSON object but a str"),
    ],
)
def test_what_cannot_be_told_is_an_error_that_names_the_file(tmp_path, document, message):
    path = write(tmp_path / "file", document)
    with pytest.raises(CommandError) as raised:
        detect_format(path)
    assert str(raised.value).startswith(f"{path}: ") and message in str(raised.value)


ASKED_ITEM = Expected(source="item", model="asked")


def test_a_record_keeps_what_it_says():
    read = read_record(
        record("7", "x", custom_id="user/other", model="m", finish_reason="length"), ASKED_ITEM
    )
    assert read.record()["custom_id"] == "user/other"
    assert (read.model, read.finish_reason) == ("m", "length")
    assert read_record(record("7", "x"), ASKED_ITEM).model == "asked"


def test_what_the_prompt_reached_over_is_kept():
    written = read_record(record("7", "x", interactions_seen=30), ASKED_ITEM).record()
    assert written["interactions_seen"] == 30
    assert "interactions_seen" not in read_record(record("7", "x"), ASKED_ITEM).record()
    with pytest.raises(RejectedAnswer, match="wrong_type: field 'interactions_seen'"):
        read_record(record("7", "x", interactions_seen=1.5), ASKED_ITEM)


def test_other_sources_and_extractions_are_rejected():
    for expected in (Expected("user"), Expected("item", "collective")):
        with pytest.raises(RejectedAnswer) as raised:
            read_record(record("7", "x"), expected)
        assert raised.value.reason.endswith("_mismatch")


def test_structured_answers_stay_structured():
    factors = {"genre": "noir", "plot": "a heist"}
    written = read_record(record("7", "genre: noir", factors=factors), ASKED_ITEM).record()
    assert written["factors"] == factors
    assert "factors" not in read_record(record("7", "x"), ASKED_ITEM).record()
    with pytest.raises(RejectedAnswer, match="wrong_type: field 'factors'"):
        read_record(record("7", "x", factors=["noir"]), ASKED_ITEM)


ITEM = Expected("item")


def test_the_custom_id_of_a_batch_line_says_what_the_answer_is_about():
    single = read_batch_line(batch_line("item/318", "x", "length"), ITEM)
    assert single.finish_reason == "length"
    assert single.record() == {
        "custom_id": "item/318",
        "source": "item",
        "entity_id": "318",
        "extraction": "individual",
        "model": "served-model",
        "prompt": None,
        "prompt_sha256": None,
        "answer": "x",
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
    }
    group = read_batch_line(batch_line("item/group/7", "x"), ITEM)
    assert (group.extraction, group.entity_id) == ("collective", "7")


def test_the_prompt_that_was_sent_says_what_it_reached_over():
    asked = Prompt(1, "user/p", "user", "ann", "individual", "?", "", interactions_seen=9)
    expected = Expected("user", prompts={"user/p": asked})
    record = read_batch_line(batch_line("user/p", "x"), expected).record()
    assert (record["entity_id"], record["interactions_seen"]) == ("ann", 9)


SENT = batch_line("item/1", "x")


def response(status: int, body: object) -> dict:
    return {**SENT, "response": {**SENT["response"], "status_code": status, "body": body}}


@pytest.mark.parametrize(
    ("line", "expected", "reason"),
    [
        (
            {"custom_id": "item/1", "response": None, "error": {"code": "batch_expired"}},
            ITEM,
            "failed_request",
        ),
        (response(500, SENT["response"]["body"]), ITEM, "failed_request"),
        (response(500, {"error": {"message": "too long"}}), ITEM, "failed_request"),
        ({"custom_id": "item/1", "response": None}, ITEM, "failed_request"),
        (batch_line("user/1", "x"), ITEM, "source_mismatch"),
        (SENT, Expected("item", "collective"), "extraction_mismatch"),
        (batch_line("318", "x"), ITEM, "invalid_custom_id"),
        ({**SENT, "custom_id": 3}, ITEM, "wrong_type"),
        (batch_line("item/1", None), ITEM, "blank_answer"),
    ],
)
def test_batch_lines_that_are_no_answers(line, expected, reason):
    with pytest.raises(RejectedAnswer) as raised:
        read_batch_line(line, expected)
    assert raised.value.reason == reason


def test_the_field_prompt_is_the_group_and_prompt_txt_the_prompt():
    answer = read_chat_line(completion("x", "length", prompt="7", prompt_txt="Describe."), ITEM)
    assert (answer.source, answer.extraction, answer.entity_id) == ("item", "collective", "7")
    assert (answer.prompt, answer.model, answer.finish_reason) == (
        "Describe.", "served-model", "length",
    )  # fmt: skip
    assert answer.record()["custom_id"] == "item/group/7"
    assert read_chat_line(completion("x", prompt=7), ITEM).entity_id == "7"


def test_options_say_what_a_chat_file_does_not():
    line = completion("x", prompt="7")
    del line["model"]
    answer = read_chat_line(line, Expected("user", "individual", "m"))
    assert answer.record()["custom_id"] == "user/7" and answer.model == "m"


def test_a_custom_id_serves_where_there_is_no_prompt():
    answer = read_chat_line(completion("x", custom_id="item/318"), ITEM)
    assert (answer.extraction, answer.entity_id) == ("individual", "318")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (completion("x"), "missing_field"),
        (completion("x", prompt=True), "wrong_type"),
        (completion("x", prompt="Describe a film.\n" * 3), "invalid_entity_id"),
        (completion("", prompt="7"), "blank_answer"),
        (completion("x", custom_id="user/318"), "source_mismatch"),
    ],
)
def test_chat_lines_that_are_no_answers(line, reason):
    with pytest.raises(RejectedAnswer) as raised:
        read_chat_line(line, ITEM)
    assert raised.value.reason == reason


ITEM_OF_MODEL = Expected("item", None, "m")


@pytest.mark.parametrize("name", ["answer", "ans"])
def test_an_entry_of_a_klg_file(name):
    read = read_klg_entry("7", {"prompt": "Why?", name: "So."}, ITEM_OF_MODEL)
    assert read == Answer("item", "7", "individual", "So.", "Why?", "m")
    assert read.finish_reason is None


def test_an_entry_that_is_a_text():
    read = read_id_text_entry("7", "So.", Expected("user", "collective"))
    assert read == Answer("user", "7", "collective", "So.")


@pytest.mark.parametrize(
    ("read", "entity", "value", "reason"),
    [
        (read_klg_entry, "7", "So.", "wrong_type"),
        (read_klg_entry, "7", {"prompt": "Why?"}, "missing_field"),
        (read_klg_entry, "7", {"answer": None}, "blank_answer"),
        (read_klg_entry, "7", {"answer": "  "}, "blank_answer"),
        (read_klg_entry, "7", {"answer": ["So."]}, "wrong_type"),
        (read_klg_entry, "7", {"prompt": 3, "answer": "So."}, "wrong_type"),
        (read_id_text_entry, "7", None, "blank_answer"),
        (read_id_text_entry, "7", 3, "wrong_type"),
        (read_id_text_entry, "", "So.", "blank_field"),
        (read_id_text_entry, "7", "\ud800", "invalid_text"),
    ],
)
def test_entries_of_objects_that_are_no_answers(read, entity, value, reason):
    with pytest.raises(RejectedAnswer) as raised:
        read(entity, value, ITEM_OF_MODEL)
    assert raised.value.reason == reason


def test_entries_keep_their_order_and_repeated_ids(tmp_path):
    path = tmp_path / "a.json.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"b": {"x": [{"y": 1}]}, "a": "t", "b": null}'))
    assert read_json_object(str(path)) == [("b", {"x": [{"y": 1}]}), ("a", "t"), ("b", None)]


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'{"1": "a",\n "2": b}', "line 2, column 7"),
        (b'{"1": "a', "line 1, column 7"),
        (b"", "line 1, column 1"),
        (b'{"1": "a"}\n{"2": "b"}', "line 2, column 1"),
        (b"[1]", "a list"),
        (b'{"1": "\xff"}', "byte 7"),
        (b'{"1": NaN}', "NaN is not a JSON number"),
        (b'{"1": ' + b"[" * 100_000, "recursion"),
    ],
)
def test_a_file_that_is_no_object_is_named_with_the_place(tmp_path, data, place):
    path = tmp_path / "a.json"
    path.write_bytes(data)
    with pytest.raises(CommandError) as raised:
        read_json_object(str(path))
    assert str(raised.value).startswith(f"{path}: ") and place in str(raised.value)


def test_a_small_file_that_becomes_large_is_not_read(tmp_path):
    path = tmp_path / "bomb.json.gz"
    path.write_bytes(gzip.compress(b'{"1": "' + b"x" * (3 << 20) + b'"}'))
    with pytest.raises(CommandError, match=r"bomb.json.gz: more than 2 MB.*JSON lines"):
        read_json_object(str(path), most_bytes=2 << 20)
    assert len(read_json_object(str(path), most_bytes=4 << 20)) == 1
