from __future__ import annotations

import dataclasses
import json
import math

import pytest

from configs.loading import ConfigurationError
from preprocessing.answers.completion import Usage
from preprocessing.generation.chat import (
    AnswerSchema,
    ChatParameters,
    ChatRequest,
    SchemaMismatch,
    answer_schema,
    factors_as_text,
    load_answer_schema,
)


def test_the_body_holds_what_was_set_and_nothing_else():
    bare = ChatParameters("m", None, None, 5, "max_completion_tokens", None)
    assert bare.body("hello") == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 5,
    }
    full = ChatParameters("m", "be brief", 0.5, 5, "max_tokens", None)
    assert full.body("hello")["messages"][0] == {"role": "system", "content": "be brief"}
    assert full.body("hello")["temperature"] == 0.5


def test_the_hash_is_that_of_all_parameters_but_the_model(parameters):
    changes = [
        {"system_prompt": "be brief"},
        {"temperature": None},
        {"max_tokens": 21},
        {"token_limit_parameter": "max_completion_tokens"},
    ]
    hashes = {dataclasses.replace(parameters, **change).sha256 for change in changes}
    assert len(hashes | {parameters.sha256}) == 5
    assert dataclasses.replace(parameters, model="other").sha256 == parameters.sha256


def test_a_call_may_spend_its_messages_the_schema_and_the_token_limit(parameters):
    request = ChatRequest("12345678", "sha")
    assert parameters.most_usage(request) == Usage(2 + 4, 20, estimated=True)
    system = dataclasses.replace(parameters, system_prompt="1234")
    assert system.most_usage(request).prompt_tokens == 2 + 4 + 1 + 4
    document = {"type": "object", "properties": {"plot": {"type": "string"}}}
    asked = dataclasses.replace(request, schema=answer_schema(document))
    sent = parameters.body("12345678", asked.schema)["response_format"]
    form = math.ceil(len(json.dumps(sent)) / 4)
    assert parameters.most_usage(asked).prompt_tokens == 2 + 4 + form
    silent = dataclasses.replace(parameters, sends_schema=False)
    assert silent.most_usage(asked).prompt_tokens == 2 + 4


def write(tmp_path, document) -> str:
    path = tmp_path / "schema.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return str(path)


@pytest.fixture
def schema(tmp_path) -> AnswerSchema:
    text = {"type": "string"}
    return load_answer_schema(
        write(
            tmp_path,
            {
                "type": "object",
                "properties": {"genre": text, "mood": text, "award": text},
                "required": ["genre", "mood"],
            },
        )
    )


def test_factors_come_in_schema_order_and_optional_ones_may_lack(schema):
    actual = schema.parse('{"mood": " dark ", "other": 1, "genre": "noir", "award": ""}')
    assert list(actual.items()) == [("genre", "noir"), ("mood", "dark")]
    assert factors_as_text(actual) == "genre: noir\nmood: dark"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("noir", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["noir"]', "not an object"),
        ('{"genre": "noir"}', "'mood' is missing"),
        ('{"genre": "noir", "mood": null}', "'mood' is not a text"),
        ('{"genre": "noir", "mood": " "}', "'mood' is missing or empty"),
        ('{"genre": "noir", "mood": "\\ud83d"}', "'mood'"),
    ],
)
def test_other_answers_do_not_fit(schema, answer, message):
    with pytest.raises(SchemaMismatch, match=message):
        schema.parse(answer)


TITLES = {"type": "array", "items": {"type": "string"}}


@pytest.fixture
def naming(tmp_path) -> AnswerSchema:
    members = {"type": "object", "properties": {"1": TITLES, "2": TITLES}}
    properties = {"text": {"type": "string"}, "liked": TITLES, "groups": members}
    document = {"type": "object", "properties": properties, "required": ["liked"]}
    return load_answer_schema(write(tmp_path, document))


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('{"liked": ["Heat", 7, null]}', {"liked": ["Heat", 7, None]}),
        ('```json\n{"liked": ["Heat"], "text": " b "}\n```', {"text": "b", "liked": ["Heat"]}),
        (
            '{"liked": [], "groups": {"2": ["Heat"]}}',
            {"liked": [], "groups": {"2": ["Heat"]}},
        ),
        ('{"liked": "Heat"}', "'liked' is no list of names"),
        ('{"liked": null}', "'liked' is no list of names"),
        ('{"text": "a"}', "'liked' is missing"),
        ('{"liked": [], "text": "a"}', "no list has a name"),
        ('{"liked": [], "groups": {"1": [], "2": []}}', "no list has a name"),
        ('{"liked": ["Heat"], "groups": ["Heat"]}', "'groups' is no object with a list"),
        ('{"liked": ["Heat"], "groups": {"1": "Heat"}}', "'groups' is no object with a list"),
        ('{"liked": ["\\ud83d"]}', "'liked' holds half a surrogate pair"),
        ('{"liked": ["Jaws", 1e999]}', "1e999 is too large for a number"),
        ('{"liked": ["Jaws", 123456789012345678901234567890]}', "field 'liked' is huge"),
    ],
)
def test_names_are_lists(naming, answer, found):
    if isinstance(found, dict):
        assert naming.parse(answer) == found
        return
    with pytest.raises(SchemaMismatch, match=found):
        naming.parse(answer)


def test_a_prompt_has_a_schema_of_its_own_that_need_not_be_sent(parameters, schema, naming):
    both = dataclasses.replace(parameters, schema=schema)
    for sent, expected in ((None, schema), (naming, naming)):
        assert both.body("a", sent)["response_format"] == expected.response_format()
        silent = dataclasses.replace(both, sends_schema=False)
        assert silent.body("a", sent) == parameters.body("a")


def test_strict_is_asked_for_only_where_it_is_allowed(schema, tmp_path):
    assert schema.response_format()["json_schema"]["strict"] is False
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    strict = load_answer_schema(write(tmp_path, closed))
    assert strict.response_format()["json_schema"] == {
        "name": "factors",
        "strict": True,
        "schema": closed,
    }


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not valid JSON"),
        ([], "expected a JSON schema"),
        ({"type": "object", "properties": {}}, "expected a JSON schema"),
        ({"type": "object", "properties": {"a": {"type": "number"}}}, "property 'a'"),
        ({"type": "object", "properties": {"a": {"type": "array"}}}, "property 'a'"),
        (
            {"type": "object", "properties": {"a": {"type": "object", "properties": {}}}},
            "property 'a'",
        ),
        (
            {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
            "'required'",
        ),
    ],
)
def test_other_schemas_are_refused(tmp_path, document, message):
    with pytest.raises(ConfigurationError, match=message):
        load_answer_schema(write(tmp_path, document))


def test_a_missing_schema_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match="nowhere.json"):
        load_answer_schema(str(tmp_path / "nowhere.json"))
