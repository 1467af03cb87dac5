from __future__ import annotations

import grpc

from serving.server.errors import RequestError, invalid, not_found


def test_an_error_has_a_code_and_a_message_for_the_caller() -> None:
    error = RequestError(grpc.StatusCode.UNIMPLEMENTED, "not here")
    assert (error.code, error.message) == (grpc.StatusCode.UNIMPLEMENTED, "not here")
    assert str(error) == "not here"


def test_the_status_is_written_as_one_error_in_another() -> None:
    assert invalid("no list").status == "INVALID_ARGUMENT: no list"
    assert not_found("no model").status == "NOT_FOUND: no model"
