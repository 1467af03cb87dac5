from __future__ import annotations

import dataclasses

from preprocessing.answers.completion import Usage
from preprocessing.generation.chat import ChatParameters


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


def test_a_call_may_spend_its_messages_and_the_token_limit(parameters):
    assert parameters.most_usage("12345678") == Usage(2 + 4, 20, estimated=True)
    system = dataclasses.replace(parameters, system_prompt="1234")
    assert system.most_usage("12345678").prompt_tokens == 2 + 4 + 1 + 4
