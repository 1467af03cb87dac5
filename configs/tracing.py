"""OpenTelemetry traces of calls to an LLM and of served requests, where somebody asked for them.

Nothing is recorded, and OpenTelemetry is not even imported, unless its own variables say where
traces go: `OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318`, or `OTEL_TRACES_EXPORTER=console`
for standard error. Sampling, headers and the names of resources follow its variables too. What is
recorded are names and numbers; a prompt, an answer, a key or a feature never is.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from configs import __version__
from configs.command_line import say

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace.export import SpanExporter, SpanProcessor

Attributes = Mapping[str, str | int | float | bool | Sequence[str] | None]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_HTTP = "http/protobuf"
_EXPORTERS_BY_PROTOCOL = {_HTTP: "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_INSTALL = "pip install 'reki[tracing]', or -r requirements-tracing.txt in the repository"

_tracer: trace.Tracer | None = None


class Span:
    """What is told about one call or request. Without tracing, it is forgotten.

    Args:
      recorded: OpenTelemetry's span; None where nobody asked for one.
    """

    def __init__(self, recorded: trace.Span | None = None):
        self._recorded = recorded

    def tell(self, attributes: Attributes) -> None:
        """Adds attributes; a value of None is left out."""
        if self._recorded is not None:
            for name, value in attributes.items():
                if value is not None:
                    self._recorded.set_attribute(name, value)

    def fail(self, reason: str) -> None:
        """Marks the span as failed.

        Args:
          reason: a fixed name that can be counted, and no message: messages quote.
        """
        if self._recorded is not None:
            from opentelemetry.trace import StatusCode

            self._recorded.set_attribute("error.type", reason)
            self._recorded.set_status(StatusCode.ERROR)


NO_SPAN = Span()


@contextlib.contextmanager
def span(
    name: str, kind: Literal["client", "server"], headers: Iterable[tuple[str, str]] = ()
) -> Iterator[Span]:
    """Records the time of a block. Exceptions are left to those who can say what they mean.

    Args:
      name: what is done and with which model, of few different values.
      kind: whether something else is asked here, or this is asked.
      headers: of a request that arrived, or its metadata; `traceparent` and `tracestate` make the
        span part of the caller's trace (W3C Trace Context).
    """
    if _tracer is None:
        yield NO_SPAN
        return
    from opentelemetry.trace import SpanKind

    with _tracer.start_as_current_span(
        name,
        context=_context_of(headers),
        kind=SpanKind.CLIENT if kind == "client" else SpanKind.SERVER,
        record_exception=False,
        set_status_on_exception=False,
    ) as recorded:
        yield Span(recorded)


def current_span() -> Span:
    """The span of the block that this thread is in."""
    if _tracer is None:
        return NO_SPAN
    from opentelemetry import trace

    return Span(trace.get_current_span())


@contextlib.contextmanager
def traces_sent(service: str) -> Iterator[None]:
    """Records spans during a block, and sends them to where OpenTelemetry's variables say.

    Where they cannot be followed it says why, and the block runs without traces.

    Args:
      service: the name of this program in traces, unless `OTEL_SERVICE_NAME` gives another.
    """
    with contextlib.ExitStack() as recording:
        try:
            if processors := [_batches_of(exporter) for exporter in _exporters()]:
                recording.enter_context(spans_recorded(service, *processors))
        except ImportError as error:
            say(f"traces are off: {error}; {_INSTALL}")
        # Of a variable that is wrong, OpenTelemetry and exporters raise errors of any kind.
        except Exception as error:
            given = ", ".join(sorted(name for name in os.environ if name.startswith("OTEL_")))
            say(f"traces are off: {error}; correct the variable that is meant, one of {given}")
        yield


@contextlib.contextmanager
def spans_recorded(service: str, *processors: SpanProcessor) -> Iterator[None]:
    """Records spans during a block; at its end the last ones have left.

    Args:
      service: as in `traces_sent`.
      processors: what becomes of finished spans.
    """
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider

    global _tracer
    resource = Resource.create()  # of the environment
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    provider = TracerProvider(resource=resource)
    for processor in processors:
        provider.add_span_processor(processor)
    before, _tracer = _tracer, provider.get_tracer("reki", __version__)
    try:
        yield
    finally:
        _tracer = before
        provider.shutdown()


def _context_of(headers: Iterable[tuple[str, str]]) -> Context:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {name.lower(): value for name, value in headers}
    return TraceContextTextMapPropagator().extract(carrier, Context())


def _exporters() -> list[SpanExporter]:
    """Those that the environment asks for.

    Raises:
      ImportError: OpenTelemetry is not installed.
      ValueError: there is no exporter of a name.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    default = "otlp" if any(map(os.environ.get, _ENDPOINTS)) else "none"
    names = (os.environ.get("OTEL_TRACES_EXPORTER") or default).split(",")
    return [_exporter(name) for name in map(str.strip, names) if name not in ("", "none")]


def _batches_of(exporter: SpanExporter) -> SpanProcessor:
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return BatchSpanProcessor(exporter)


def _exporter(name: str) -> SpanExporter:
    """The exporter of that name; see `_exporters`."""
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    if name == "console":
        return ConsoleSpanExporter(out=sys.stderr)  # standard output is for results
    if name == "otlp":
        protocol = next(filter(None, map(os.environ.get, _PROTOCOLS)), _HTTP)
        name = _EXPORTERS_BY_PROTOCOL.get(protocol, protocol)
    for entry in metadata.entry_points(group="opentelemetry_traces_exporter", name=name):
        return entry.load()()
    missing = f"no exporter '{name}' is installed"
    raise ImportError(missing) if name == _EXPORTERS_BY_PROTOCOL[_HTTP] else ValueError(missing)
