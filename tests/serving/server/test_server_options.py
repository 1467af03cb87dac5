from __future__ import annotations

from serving.server.server_options import ServerOptions


def test_defaults_are_those_that_the_page_states() -> None:
    options = ServerOptions()
    assert options.poll_seconds == 1
    assert options.maximum_grpc_request_bytes == options.maximum_rest_request_bytes == 67_108_864
    assert (options.grpc_threads, options.grace_seconds) == (16, 5)
    assert options.maximum_request_rows == 20_000
    assert options.maximum_request_input_bytes == 256 * 1024 * 1024
    assert options.maximum_rest_connections == 512
    assert options.maximum_rest_connections_per_peer == 256
    assert (options.rest_header_seconds, options.rest_body_seconds) == (10, 60)
    assert options.rest_keep_alive_seconds == 5
    assert options.tls is None
    assert not options.allow_version_labels_for_unavailable_models
