"""Tiny answer files of every format, and how to write them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

TEXTS = {
    "1": "A toy cowboy and a space ranger become friends.",
    "2": "A board game releases a jungle into a quiet town.",
    "3": "Two old neighbours quarrel over the same woman.",
}


def completion(text: str | None, finish_reason: str = "stop", **fields: Any) -> dict[str, Any]:
    """A chat completion object."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "served-model",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish_reason,
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16},
        **fields,
    }


def batch_line(custom_id: str, text: str | None, finish_reason: str = "stop") -> dict[str, Any]:
    """A line of a batch output file."""
    return {
        "id": "batch_req_1",
        "custom_id": custom_id,
        "response": {
            "status_code": 200,
            "request_id": "r",
            "body": completion(text, finish_reason),
        },
        "error": None,
    }


def record(entity_id: str, text: str, **fields: Any) -> dict[str, Any]:
    """A record of this project."""
    return {
        "source": "item",
        "entity_id": entity_id,
        "extraction": "individual",
        "answer": text,
        **fields,
    }


def prompt(custom_id: str, entity_id: str, text: str, **fields: Any) -> dict[str, Any]:
    """A line of a prompt file."""
    return {
        "custom_id": custom_id,
        "source": "user",
        "entity_id": entity_id,
        "extraction": "individual",
        "prompt": text,
        **fields,
    }


DOCUMENTS: dict[str, Any] = {
    "records": [record(entity, text) for entity, text in TEXTS.items()],
    "openai-batch": [batch_line(f"item/{entity}", text) for entity, text in TEXTS.items()],
    "openai-chat": [
        completion(text, prompt=entity, prompt_txt=f"Describe group {entity}.")
        for entity, text in TEXTS.items()
    ],
    "klg": {
        "1": {"prompt": "What is 1?", "answer": TEXTS["1"]},
        "2": {"prompt": "What is 2?", "ans": TEXTS["2"]},
        "3": {"answer": TEXTS["3"]},
    },
    "id-text": TEXTS,
}
"""Format -> the same three answers: lines as a list, a whole file as an object."""


def write(path: Path, document: Any) -> str:
    """Writes JSON lines (list; a bytes line as it is) or one JSON object; gzipped for `.gz`."""
    if isinstance(document, list):
        lines = [
            line if isinstance(line, bytes) else json.dumps(line).encode() for line in document
        ]
        data = b"".join(line + b"\n" for line in lines)
    else:
        data = json.dumps(document).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """JSON lines of a file."""
    opened = gzip.open(path) if path.suffix == ".gz" else path.open("rb")
    with opened as file:
        return [json.loads(line) for line in file]
