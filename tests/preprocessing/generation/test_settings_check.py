from __future__ import annotations

import pytest

from configs.loading import ConfigurationError
from configs.prompting import Generation
from preprocessing.generation.clients import check_settings


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
        ({"client": "replay"}, (), (), "--client replay and --replay FILE go together"),
        ({"client": "gguf", "model": "m"}, ("a",), (), "go together"),
        ({"client": "gguf", "model": "m"}, (), ("b",), "--read-batch needs --client batch-file"),
        ({"model": "m", "api_key_variable": "NO_SUCH_KEY"}, (), (), "NO_SUCH_KEY is empty"),
        ({"model": "m", "base_url": "localhost"}, (), (), "is no address; write one such as"),
    ],
)
def test_settings_that_do_not(settings, replay, batch, message):
    with pytest.raises(ConfigurationError, match=message):
        check_settings(Generation(**settings), replay, batch)
