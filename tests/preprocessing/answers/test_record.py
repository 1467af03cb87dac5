from __future__ import annotations

import ast
import gzip
import hashlib
import json
from dataclasses import replace

import pytest

from configs.loading import ConfigurationError
from preprocessing.answers.checks import CHECKS
from preprocessing.answers.record import (
    ENCODING_REASONS,
    GENERATION_REASONS,
    QUALITY_REASONS,
    RECORD_REASONS,
    Answer,
    RejectedAnswer,
    answer_of,
    asked_sources,
    batched_lines,
    chosen_sources,
    custom_id,
    factor_text,
    json_object,
    meaning_of,
    numbered_lines,
    other_sources,
    parse_answer,
    recorded_source,
    split_custom_id,
)
from tests.source_code import syntax_tree

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


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": [value]}
    return value


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
        ({"entity_id": "318" * 167}, "invalid_entity_id"),
        ({"usage": 3}, "wrong_type"),
        ({"model": 3}, "wrong_type"),
        ({"interactions_seen": "3"}, "wrong_type"),
        ({"interactions_seen": True}, "wrong_type"),
        ({"finish_reason": 5}, "wrong_type"),
        ({"interactions_seen": -1}, "wrong_type"),
        ({"interactions_seen": 1 << 31}, "wrong_type"),
        ({"interactions_seen": 10**400}, "wrong_type"),
        ({"usage": nested(16)}, "wrong_type"),
        ({"usage": nested(200)}, "wrong_type"),
        ({"usage": {"tokens": 1 << 63}}, "wrong_type"),
        ({"usage": {"tokens": [-(10**4000)]}}, "wrong_type"),
        ({"usage": {"by": "half \ud800"}}, "invalid_text"),
        ({"usage": {"half \ud800": 1}}, "invalid_text"),
        ({"factors": {"mood": "half \ud800"}}, "invalid_text"),
    ],
)
def test_fields_that_make_no_answer(change, reason):
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


def test_what_services_report_of_tokens_is_kept():
    usage = {"total_tokens": (1 << 63) - 1, "details": {"cached": [0, 1.5]}, "deep": nested(14)}
    answer = parse({**RECORD, "usage": usage, "interactions_seen": (1 << 31) - 1})
    assert answer.usage == usage and answer.interactions_seen == 2147483647


def test_lines_are_numbered_across_batches_and_blank_ones_left_out(tmp_path):
    path = tmp_path / "answers.jsonl.gz"
    lines = [b"%d" % number if number % 100 else b"" for number in range(1, 601)]
    path.write_bytes(gzip.compress(b"\r\n".join(lines)))
    assert [len(batch) for batch in batched_lines(str(path), 400)] == [400, 194]
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


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("item/318", ("item", "individual", "318")),
        ("item/group/7", ("item", "collective", "7")),
        ("user_liked/group/a/b", ("user_liked", "collective", "a/b")),
        ("item/a/b", ("item", "individual", "a/b")),
        ("item/groups/7", ("item", "individual", "groups/7")),
    ],
)
def test_an_id_is_split_and_joined(text, parts):
    assert split_custom_id(text) == parts
    assert custom_id(*parts) == text


@pytest.mark.parametrize("text", ["", "318", "item/", "/318", "item/group", "item/group/"])
def test_other_texts_are_no_custom_ids(text):
    assert split_custom_id(text) is None


FACTORS = {"genre": "Neo-noir.", "mood/tone": " Bleak ", "plot": "", "cast": ["Ford"]}


def written(text: str) -> Answer:
    return Answer("item", "1", "individual", text)


def test_factors_stand_in_the_record_or_in_the_answer():
    generated = Answer("item", "1", "individual", "genre: Neo-noir.", factors=FACTORS)
    assert factor_text(generated, "genre") == "Neo-noir."
    assert factor_text(written(json.dumps(FACTORS)), "mood/tone") == " Bleak "
    gap = "\n" * 300_000
    for fenced in (f"```json\n{json.dumps(FACTORS)}\n```", f"{gap}```{json.dumps(FACTORS)}{gap}"):
        assert factor_text(written(fenced), "mood/tone") == " Bleak "
    within = json.dumps(FACTORS).replace('["Ford"]', f"[{gap}]")
    assert factor_text(written(within), "genre") == "Neo-noir."


@pytest.mark.parametrize(
    ("answer", "factor", "reason"),
    [
        ("A neo-noir.", "genre", "unstructured_answer"),
        ('["genre"]', "genre", "unstructured_answer"),
        ("[" * 100_000, "genre", "unstructured_answer"),
        ('{"genre": NaN}', "genre", "unstructured_answer"),
        (json.dumps(FACTORS), "country", "missing_factor"),
        (json.dumps(FACTORS), "plot", "missing_factor"),
        (json.dumps(FACTORS), "cast", "missing_factor"),
        ('{"genre": null}', "genre", "missing_factor"),
        ('{"genre": "\\ud800"}', "genre", "invalid_text"),
    ],
)
def test_answers_without_the_factor_are_rejected(answer, factor, reason):
    with pytest.raises(RejectedAnswer) as raised:
        factor_text(written(answer), factor)
    assert raised.value.reason == reason


def test_records_name_the_source_without_its_factor():
    assert recorded_source("item_genre", "genre") == "item"
    assert recorded_source("item", "genre") == "item"
    assert recorded_source("item_genre", None) == "item_genre"


FILM = {"entity": "item", "collective": ["a.jsonl"], "grouping": {}}


@pytest.fixture
def answers(small_scenario):
    scenario = small_scenario(
        knowledge__answers__film=FILM | {"factors": ["genre", "theme"]},
        knowledge__answers__user={"entity": "user", "individual": ["b.jsonl"]},
    )
    return scenario.knowledge.answers


def test_factors_of_one_answer_are_asked_about_once(answers):
    assert list(answers) == ["item", "film_genre", "film_theme", "user"]
    asked = asked_sources(answers)
    assert list(asked) == ["item", "film", "user"]
    assert asked["film"] == answers["film_genre"]


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (None, ["item", "film", "user"]),
        (["user", "film"], ["film", "user"]),
        (["film_theme", "film_genre"], ["film"]),
        ([], []),
    ],
)
def test_sources_are_chosen_by_either_name(answers, names, chosen):
    assert list(chosen_sources(answers, names)) == chosen


def test_unknown_sources_are_named(answers):
    with pytest.raises(ConfigurationError, match="no source 'film_plot' .*film_theme, user"):
        chosen_sources(answers, ["film_plot"])


def test_factors_of_one_answer_have_the_same_groups(small_scenario):
    scenario = small_scenario(
        knowledge__answers__film_genre=FILM | {"factor": "genre"},
        knowledge__answers__film_theme=FILM | {"factor": "theme", "grouping": {"seed": 1}},
    )
    with pytest.raises(ConfigurationError, match="film_theme.grouping: differs"):
        asked_sources(scenario.knowledge.answers)


def test_other_sources_are_those_that_records_name(answers):
    assert other_sources(answers, "item") == {"film", "user"}
    assert other_sources(answers, "film_genre") == {"item", "user"}


def test_long_lines_come_in_small_batches(tmp_path):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b"\n".join([b"x" * (3 << 20)] * 4 + [b"y" * (20 << 20)]))
    batches = list(batched_lines(str(path)))
    assert [[number for number, _ in batch] for batch in batches] == [[1, 2], [3, 4], [5]]
    assert len(batches[2][0][1]) == (8 << 20) + 1


REJECTING = (
    "RejectedAnswer", "Rejection", "TransientFailure", "RequestRefused",
)  # fmt: skip
"""Classes whose first argument is a reason."""


def literal_reasons(source: str) -> set[str]:
    """Reasons that are written out, the beginning of those that are put together."""
    collected = set()
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) in REJECTING:
            reason = node.args[0]
            if isinstance(reason, ast.JoinedStr):
                reason = reason.values[0]
            if isinstance(reason, ast.Constant):
                collected.add(reason.value)
    return collected


def test_every_reason_in_the_code_has_a_meaning(repository_root):
    used = {reason for reason, _ in CHECKS}
    connection = repository_root / "configs" / "openai_connection.py"
    for path in (connection, *sorted((repository_root / "preprocessing").rglob("*.py"))):
        used |= literal_reasons(path.read_text(encoding="utf-8"))
    assert len(used) > 30
    assert {reason for reason in used if not meaning_of(reason)} == set()


def test_no_reason_means_two_things():
    names = [
        *RECORD_REASONS, *QUALITY_REASONS, *GENERATION_REASONS, *ENCODING_REASONS,
    ]  # fmt: skip
    assert len(names) == len(set(names))


def test_known_reasons_have_a_meaning_and_others_none():
    for reason in ("http_400", "refusal", "wrong_width", "not_an_object"):
        assert meaning_of(reason), reason
    assert meaning_of("bad_luck") is None
