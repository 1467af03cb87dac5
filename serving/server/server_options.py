"""The local server's options beside its models and ports."""

from __future__ import annotations

import dataclasses

from serving.server.rest_port import ConnectionLimits, TlsSettings
from serving.server.servable import RequestLimits

DEFAULT_MAXIMUM_REQUEST_BYTES = 64 * 2**20
DEFAULT_GRPC_THREADS = 16


@dataclasses.dataclass(frozen=True)
class ServerOptions:
    """How a local server works.

    Attributes:
      poll_seconds: pause between looks at the base paths; 0 looks only at the start.
      allow_version_labels_for_unavailable_models: whether a new label may name a version that is
        not available.
      tls: a certificate for both ports; None for plain connections.
      maximum_grpc_request_bytes: a larger request is refused with RESOURCE_EXHAUSTED.
      maximum_rest_request_bytes: a larger body is refused with 413.
      maximum_request_rows: see `RequestLimits.rows`; more are refused with RESOURCE_EXHAUSTED, 413.
      maximum_request_input_bytes: see `RequestLimits.input_bytes`; likewise.
      maximum_rest_connections: see `ConnectionLimits`, like the next four.
      maximum_rest_connections_per_peer: of one address.
      rest_header_seconds: for the header of a request.
      rest_body_seconds: for its body.
      rest_keep_alive_seconds: between an answer and the next request.
      grpc_threads: gRPC requests that are answered at a time.
      grace_seconds: how long requests under way may take when the server stops.
    """

    poll_seconds: float = 1.0
    allow_version_labels_for_unavailable_models: bool = False
    tls: TlsSettings | None = None
    maximum_grpc_request_bytes: int = DEFAULT_MAXIMUM_REQUEST_BYTES
    maximum_rest_request_bytes: int = DEFAULT_MAXIMUM_REQUEST_BYTES
    maximum_request_rows: int = RequestLimits.rows
    maximum_request_input_bytes: int = RequestLimits.input_bytes
    maximum_rest_connections: int = ConnectionLimits.connections
    maximum_rest_connections_per_peer: int = ConnectionLimits.connections_per_peer
    rest_header_seconds: float = ConnectionLimits.header_seconds
    rest_body_seconds: float = ConnectionLimits.body_seconds
    rest_keep_alive_seconds: float = ConnectionLimits.keep_alive_seconds
    grpc_threads: int = DEFAULT_GRPC_THREADS
    grace_seconds: float = 5.0
