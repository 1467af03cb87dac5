"""The adapter's own translation, against a stand-in with llama-cpp-python's call signature."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.openai_connection import EndpointUnusable, RequestRefused
from preprocessing.answers.completion import Usage
from preprocessing.generation import gguf as gguf_model
from preprocessing.generation.chat import AnswerSchema, ChatRequest
from preprocessing.generation.gguf import GgufModel, read_gguf_file, require_llama_cpp

CONTENT = b"GGUF" + bytes(range(100))


def test_the_name_holds_file_name_and_hash(tmp_path):
    model = tmp_path / "toy.gguf"
    model.write_bytes(CONTENT)
    expected = f"toy.gguf@sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert read_gguf_file(str(model), tmp_path / "none").name == expected


def test_an_unchanged_file_is_not_hashed_again_and_a_changed_one_is(tmp_path):
    model, cache = tmp_path / "toy.gguf", tmp_path / "out" / "model.json"
    model.write_bytes(CONTENT)
    read_gguf_file(str(model), cache).remember(cache)
    # A hash that no file has shows where the second answer comes from.
    record = json.loads(cache.read_text())
    cache.write_text(json.dumps({**record, "sha256": "from the cache"}))
    assert read_gguf_file(str(model), cache).sha256 == "from the cache"

    changed = CONTENT[:-1] + b"!"
    model.write_bytes(changed)
    os.utime(model, ns=(1, 1))
    assert read_gguf_file(str(model), cache).sha256 == hashlib.sha256(changed).hexdigest()


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"path": 1}'])
def test_a_damaged_cache_is_no_cache(tmp_path, damage):
    model, cache = tmp_path / "toy.gguf", tmp_path / "model.json"
    model.write_bytes(CONTENT)
    cache.write_text(damage)
    expected = hashlib.sha256(CONTENT).hexdigest()
    assert read_gguf_file(str(model), cache).sha256 == expected


def test_what_is_no_model_file_is_named(tmp_path):
    other = tmp_path / "model.bin"
    other.write_bytes(b"PK\3\4")
    with pytest.raises(ConfigurationError, match=r"model.bin' is no GGUF file"):
        read_gguf_file(str(other), tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"generation.model: .*cannot be read"):
        read_gguf_file(str(tmp_path / "missing.gguf"), tmp_path / "none")


class StandIn:
    """Takes the keyword arguments of `llama_cpp.Llama.create_chat_completion`; a word a token."""

    def __init__(self, window: int, trained: int | None = None, failure: Exception | None = None):
        self.window = window
        self.metadata = {"general.architecture": "toy"}
        if trained is not None:
            self.metadata["toy.context_length"] = str(trained)
        self.failure = failure
        self.calls: list[dict] = []
        self.resets = 0
        self.closed = False
        self._busy = threading.Lock()

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        return list(range(len(text.split()) + add_bos))

    def reset(self) -> None:
        self.resets += 1

    def close(self) -> None:
        self.closed = True

    def create_chat_completion(
        self, messages, temperature=0.2, max_tokens=None, response_format=None
    ) -> object:
        assert self._busy.acquire(blocking=False), "two calls at once"
        try:
            time.sleep(0.002)
            if self.failure is not None:
                raise self.failure
            self.calls.append(
                {
                    "messages": messages,
                    "temperature": temperature,
                    "max_tokens": max_tokens,
                    "response_format": response_format,
                }
            )
            return {
                "model": "/somewhere/toy.gguf",
                "choices": [
                    {
                        "message": {
                            "role": "assistant",
                            "content": "About " + messages[-1]["content"],
                        },
                        "finish_reason": "length",
                    }
                ],
                "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
            }
        finally:
            self._busy.release()


class Opened:
    """Every model that was opened, with its window."""

    def __init__(self, trained: int | None = None, failure: Exception | None = None):
        self.models: list[StandIn] = []
        self._trained, self._failure = trained, failure

    def __call__(self, window: int) -> StandIn:
        self.models.append(StandIn(window, self._trained, self._failure))
        return self.models[-1]


def ask(model: GgufModel, prompt: str):
    return model.complete(ChatRequest(prompt, "a" * 64))


def test_parameters_and_answer_are_translated(parameters):
    schema = AnswerSchema({"type": "object"}, ("genre",), frozenset(), False)
    opened = Opened()
    asked = replace(parameters, system_prompt="Be brief.", schema=schema)
    response = ask(GgufModel(opened, "toy.gguf@sha256:12", asked), "Alien")
    assert opened.models[0].calls == [
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Alien"},
            ],
            "temperature": 0.0,
            "max_tokens": 20,
            "response_format": {"type": "json_object", "schema": {"type": "object"}},
        }
    ]
    assert response.text == "About Alien" and response.finish_reason == "length"
    assert response.usage == Usage(9, 4) and response.answered_by == "toy.gguf@sha256:12"


def test_the_schema_of_a_prompt_is_its_grammar(parameters):
    own = AnswerSchema({"type": "object", "x": 1}, ("links",), frozenset(), False)
    opened = Opened()
    for sends in (True, False):
        model = GgufModel(opened, "toy", replace(parameters, sends_schema=sends))
        model.complete(ChatRequest("Alien", "a" * 64, own))
    sent, silent = (model.calls[0]["response_format"] for model in opened.models)
    assert sent == {"type": "json_object", "schema": own.document} and silent is None


def test_what_is_not_set_is_left_to_the_library(parameters):
    opened = Opened()
    ask(GgufModel(opened, "toy", replace(parameters, temperature=None)), "Alien")
    (call,) = opened.models[0].calls
    assert call["temperature"] == 0.2 and call["response_format"] is None


def test_calls_are_made_one_by_one_and_forget_each_other(parameters):
    opened = Opened()
    model = GgufModel(opened, "toy", parameters)
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda n: ask(model, str(n)).text, range(30)))
    assert texts == [f"About {n}" for n in range(30)]
    assert len(opened.models) == 1 and opened.models[0].resets == 30


def test_the_window_grows_with_the_prompt(parameters):
    opened = Opened(trained=8192)
    model = GgufModel(opened, "toy", parameters)
    for words in (10, 1700, 2000, 1800, 7900):
        ask(model, "w " * words)
    # 2000 words + 256 for the template + 20 for the answer do not fit into 2048.
    assert [opened_model.window for opened_model in opened.models] == [2048, 4096, 8192]
    assert [len(opened_model.calls) for opened_model in opened.models] == [2, 2, 1]
    assert [opened_model.closed for opened_model in opened.models] == [True, True, False]
    model.close()
    assert opened.models[-1].closed


def test_a_prompt_beyond_the_trained_window_is_refused(parameters):
    model = GgufModel(Opened(trained=1024), "toy", parameters)
    with pytest.raises(RequestRefused, match=r"prompt_too_long: 1000 tokens.* model's 1024"):
        ask(model, "w " * 1000)
    assert ask(model, "short").text == "About short"


def test_failures_of_the_library(parameters):
    model = GgufModel(Opened(failure=ValueError("System role not supported")), "toy", parameters)
    with pytest.raises(RequestRefused, match="model_failed: ValueError: System role"):
        ask(model, "Alien")

    def broken(window: int) -> StandIn:
        raise ValueError("Failed to load model from file: toy.gguf")

    with pytest.raises(EndpointUnusable, match=r"toy cannot be loaded .*Failed to load"):
        ask(GgufModel(broken, "toy", parameters), "Alien")


def test_a_missing_package_names_the_requirements_file(monkeypatch):
    monkeypatch.setattr(gguf_model.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CommandError, match=r"pip install -r requirements-gguf.txt"):
        require_llama_cpp()
