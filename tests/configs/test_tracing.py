from __future__ import annotations

import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from configs.tracing import NO_SPAN, current_span, span, spans_recorded, traces_sent
from tests.waiting import LONGEST_SECONDS

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture
def recorded() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with spans_recorded("program", SimpleSpanProcessor(exporter)):
        yield exporter


def test_without_variables_opentelemetry_is_not_even_imported(repository_root: Path) -> None:
    program = """
import sys
from configs.tracing import current_span, span, traces_sent
with traces_sent("program"), span("work", "client", [("traceparent", "x")]) as told:
    told.tell({"a": 1})
    told.fail("reason")
    current_span().tell({"b": 2})
assert not [name for name in sys.modules if name.startswith("opentelemetry")]
"""
    subprocess.run([sys.executable, "-c", program], cwd=repository_root, env={}, check=True)


def test_a_span_has_what_was_told(recorded: InMemorySpanExporter) -> None:
    with span("work", "client") as told:
        told.tell({"model": "m", "tokens": 3, "left_out": None})
        current_span().tell({"version": 7})
    with span("fault", "server") as told:
        told.fail("timeout")
    work, fault = recorded.get_finished_spans()
    assert (work.name, work.kind, work.parent) == ("work", SpanKind.CLIENT, None)
    assert work.attributes == {"model": "m", "tokens": 3, "version": 7}
    assert work.status.status_code is StatusCode.UNSET
    assert work.resource.attributes["service.name"] == "program"
    assert (fault.kind, fault.attributes) == (SpanKind.SERVER, {"error.type": "timeout"})
    assert fault.status.status_code is StatusCode.ERROR and fault.status.description is None


def test_the_caller_of_a_request_is_its_parent(recorded: InMemorySpanExporter) -> None:
    for headers in (
        [("Traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "vendor=1")],
        [("traceparent", "nonsense"), ("other", "value")],
    ):
        with span("request", "server", headers):
            pass
    child, orphan = recorded.get_finished_spans()
    assert f"{child.context.trace_id:032x}" == TRACE
    assert child.parent is not None and f"{child.parent.span_id:016x}" == PARENT
    assert child.context.trace_state["vendor"] == "1"
    assert orphan.parent is None and f"{orphan.context.trace_id:032x}" != TRACE


def test_what_an_exception_says_is_not_recorded(recorded: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError), span("work", "client"):
        raise ValueError("a secret prompt")
    (work,) = recorded.get_finished_spans()
    assert work.events == () and "secret" not in work.to_json()


def test_after_the_block_nothing_is_recorded(recorded: InMemorySpanExporter) -> None:
    exporter = InMemorySpanExporter()
    with spans_recorded("inner", SimpleSpanProcessor(exporter)), span("inner", "client"):
        pass
    with span("outer", "client"):
        pass
    assert [one.name for one in exporter.get_finished_spans()] == ["inner"]
    assert [one.name for one in recorded.get_finished_spans()] == ["outer"]


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:1"},
        {"OTEL_TRACES_EXPORTER": "console", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_the_variables_switch_traces_off(
    variables: dict[str, str], environment: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    with traces_sent("program"), span("work", "client") as told:
        assert told is NO_SPAN


def test_spans_can_be_read_on_standard_error(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("OTEL_TRACES_EXPORTER", "console")
    environment.setenv("OTEL_SERVICE_NAME", "nightly")
    with traces_sent("program"), span("work", "client"):
        pass
    captured = capsys.readouterr()
    assert '"name": "work"' in captured.err and '"service.name": "nightly"' in captured.err
    assert captured.out == ""


def test_a_missing_package_is_told_and_stops_nothing(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("OTEL_TRACES_EXPORTER", "otlp")
    environment.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)
    with traces_sent("program"), span("work", "client") as told:
        assert told is NO_SPAN
    said = capsys.readouterr().err
    assert said.startswith("traces are off: ") and "pip install 'reki[tracing]'" in said


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "no exporter 'zipkin' is installed"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "10", "max_queue_size"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x", "must be a non-negative integer but got x"),
    ],
)
def test_a_wrong_variable_is_told_and_stops_nothing(
    name: str,
    value: str,
    message: str,
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    environment.setenv("OTEL_TRACES_EXPORTER", "console")
    environment.setenv(name, value)
    with traces_sent("program"), span("work", "client") as told:
        assert told is NO_SPAN
    said = capsys.readouterr().err
    assert said.startswith("traces are off: ") and message in said
    assert "correct the variable that is meant" in said and name in said and "pip" not in said


def test_spans_go_to_a_collector(environment: pytest.MonkeyPatch) -> None:
    pytest.importorskip(
        "opentelemetry.exporter.otlp.proto.http", reason="needs requirements-tracing.txt"
    )
    received: list[tuple[str, str | None, bytes]] = []

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers.get("x-tenant"), body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=movies")
        environment.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", str(round(LONGEST_SECONDS)))
        with traces_sent("program"), span("chat toy", "client"):
            pass
        server.shutdown()
    ((path, tenant, body),) = received
    assert (path, tenant) == ("/v1/traces", "movies")
    assert b"chat toy" in body and b"program" in body
