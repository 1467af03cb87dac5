from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from configs.prompting import Generation
from preprocessing.generation.answer_store import Acceptance
from preprocessing.generation.clients import ClientFiles, check_settings, open_client
from preprocessing.generation.endpoint_client import CallLimits, EndpointClient
from preprocessing.generation.file_clients import BatchFileClient, BatchResultClient, ReplayClient

ACCEPTANCE = Acceptance(None, False, 2)


def opened(parameters, calls: int = 3, batch: tuple[str, ...] = (), **settings: object):
    files = ClientFiles("p.jsonl", ("a.jsonl",), batch, Path("batch"))
    return open_client(Generation(**settings), parameters, ACCEPTANCE, files, calls)


def test_every_client_has_its_own_kind(parameters):
    with opened(parameters, client="replay") as client:
        assert isinstance(client, ReplayClient) and client.paths == ("a.jsonl",)
    with opened(parameters, client="batch-file") as client:
        assert isinstance(client, BatchFileClient) and client.folder == Path("batch")
    with opened(parameters, client="batch-file", batch=("b.jsonl",)) as client:
        assert isinstance(client, BatchResultClient)
    with opened(parameters, base_url="http://127.0.0.1:1/v1", concurrency=5) as client:
        assert isinstance(client, EndpointClient)
        assert client.limits == CallLimits(5, 6, 1.0, 20) and client.expected_calls == 3


def test_a_model_in_this_process_is_called_once_at_a_time(parameters, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with opened(parameters, client="gguf", model="m.gguf", concurrency=8) as client:
        assert isinstance(client, EndpointClient)
        assert (client.limits.concurrency, client.limits.retries) == (1, 0)


def test_a_run_without_calls_needs_no_package(parameters, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with opened(parameters, calls=0, client="gguf", model="m.gguf"):
        pass
    with (
        pytest.raises(CommandError, match="requirements-gguf.txt"),
        opened(parameters, client="gguf", model="m.gguf"),
    ):
        pass


@pytest.mark.parametrize(
    ("settings", "replay", "batch"),
    [
        ({"model": "m", "base_url": "http://localhost:8000/v1"}, (), ()),
        ({"client": "gguf", "model": "m.gguf"}, (), ()),
        ({"client": "replay"}, ("a.jsonl",), ()),
        ({"client": "batch-file", "model": "m"}, (), ("b.jsonl",)),
    ],
)
def test_settings_that_fit(settings, replay, batch):
    check_settings(Generation(**settings), replay, batch)


@pytest.mark.parametrize(
    ("settings", "replay", "batch", "message"),
    [
        ({}, (), (), "e.g. --model gpt-4o-mini"),
        ({"client": "gguf"}, (), (), "e.g. --model models/llm.gguf"),
        ({"client": "gguf", "model": "m"}, ("a",), (), "go together"),
        ({"client": "gguf", "model": "m"}, (), ("b",), "--read-batch needs --client batch-file"),
        ({"model": "m", "api_key_variable": "NO_SUCH_KEY"}, (), (), "NO_SUCH_KEY is empty"),
    ],
)
def test_settings_that_do_not(settings, replay, batch, message):
    with pytest.raises(ConfigurationError, match=message):
        check_settings(Generation(**settings), replay, batch)
