from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from preprocessing.generation.chat import ChatParameters
from tests.preprocessing.generation.chat_server import KEY


@pytest.fixture
def prompt_file(tmp_path: Path) -> Callable[[Iterable[str]], str]:
    """Writes a prompt file with one record per text."""

    def write(texts: Iterable[str]) -> str:
        path = tmp_path / "prompts.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for number, text in enumerate(texts):
                record = {
                    "custom_id": f"item/{number}",
                    "source": "item",
                    "entity_id": str(number),
                    "extraction": "individual",
                    "model": None,
                    "prompt": text,
                }
                file.write(json.dumps(record) + "\n")
        return str(path)

    return write


@pytest.fixture
def parameters() -> ChatParameters:
    return ChatParameters("toy", None, 0.0, 20, "max_tokens", None)


@pytest.fixture
def key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
