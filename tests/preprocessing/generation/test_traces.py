from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from configs.tracing import spans_recorded
from tests.preprocessing.generation.chat_server import (
    KEY,
    Call,
    Reply,
    chat_server,
    completion,
    failure,
)
from tests.preprocessing.generation.generate_command import endpoint, fast_retries, generate

PROMPTS = ("About Alien.", "About Brazil.", "About Cube.")


@pytest.fixture
def recorded() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with spans_recorded("test", SimpleSpanProcessor(exporter)):
        yield exporter


def behaviour(call: Call) -> Reply:
    if call.prompt == PROMPTS[1] and call.number < 3:
        return failure(500, f"cannot answer {call.prompt} with {call.authorization}")
    if call.prompt == PROMPTS[2]:
        return failure(400, f"cannot answer {call.prompt} with {call.authorization}")
    return completion("A secret answer.")


@pytest.mark.usefixtures("key_in_the_environment")
def test_each_call_is_a_span_that_quotes_nothing(
    recorded: InMemorySpanExporter,
    prompt_file: Callable[[Iterable[str]], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = fast_retries(tmp_path / "scenario.yaml")
    with chat_server(behaviour) as server:
        words = [*options, *endpoint(server)]
        code, summary, _ = generate(capsys, prompt_file(PROMPTS), tmp_path / "out", *words)
    assert code == 3 and summary["calls"] == 2 and summary["retries"] == 2
    spans = {
        str(span.attributes["reki.prompt_sha256"]): span
        for span in recorded.get_finished_spans()
        if span.attributes is not None
    }
    assert spans.keys() == {hashlib.sha256(text.encode()).hexdigest() for text in PROMPTS}
    assert {(span.name, span.kind) for span in spans.values()} == {("chat toy", SpanKind.CLIENT)}
    asked = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "toy"}
    answered = {
        "gen_ai.response.model": "toy-2026",
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 5,
        "reki.tokens_estimated": False,
        "reki.outcome": "answered",
    }
    expected = [
        answered | {"reki.retries": 0},
        answered | {"reki.retries": 2},
        {"reki.outcome": "http_400", "reki.retries": 0, "error.type": "http_400"},
    ]
    for text, told in zip(PROMPTS, expected, strict=True):
        sha = hashlib.sha256(text.encode()).hexdigest()
        assert spans[sha].attributes == asked | told | {"reki.prompt_sha256": sha}
        failed = spans[sha].status.status_code is StatusCode.ERROR
        assert failed is ("error.type" in told)
        for secret in (text, "Alien", "Brazil", "Cube", "secret answer", KEY):
            assert secret not in spans[sha].to_json()


def test_the_command_sends_what_it_recorded(
    prompt_file: Callable[[Iterable[str]], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    with chat_server(behaviour) as server:
        words = endpoint(server)
        code, _, said = generate(capsys, prompt_file(PROMPTS[:1]), tmp_path / "out", *words)
    assert code == 0
    assert '"name": "chat toy"' in said and '"service.name": "reki-generate"' in said
