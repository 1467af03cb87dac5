from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serving.client import (
    ProfileError,
    RankingError,
    RestRankingClient,
    ServerUnavailable,
    UserRequest,
    retries,
)
from serving.client.rest_client import array_of, document_of
from tests.ports import free_ports
from tests.serving.client.answering import Meanwhile, RestAnswering, answering_over_rest
from tests.waiting import LONGEST_SECONDS, NEVER_SECONDS

USER = UserRequest("u", ["a"], [4.0], 1.0, 4.0, 0.7)


@pytest.fixture
def server() -> Iterator[RestAnswering]:
    with answering_over_rest() as server:
        yield server


def client_of(server: RestAnswering, **options: object) -> RestRankingClient:
    options.setdefault("timeout_seconds", LONGEST_SECONDS)
    return RestRankingClient(f"http://127.0.0.1:{server.server_port}/", "my model", **options)


def test_the_request_is_in_column_format_on_one_connection(server: RestAnswering) -> None:
    with client_of(server) as client:
        assert client.rank(USER, ["ü"]).tolist() == [0.5]
        assert client.score_rows([USER], ["x"]).tolist() == [0.5]
    (path, document), (_, rows) = server.requests
    assert path == "/v1/models/my%20model:predict"
    assert document == {
        "signature_name": "rank",
        "inputs": {
            "user_id": ["u"],
            "item_id": ["ü"],
            "history_item_id": [["a"]],
            "history_rating": [[4.0]],
            "user_share_liked": [1.0],
            "user_mean_rating": [4.0],
            "user_log_count": [pytest.approx(0.7)],
        },
    }
    assert rows["signature_name"] == "serving_default"
    assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("{}", "not a list"),
        ('{"outputs": [1]}', "not a list of decimal numbers or of strings"),
        ('{"outputs": 0.5}', "not a list of decimal numbers or of strings"),
        ('{"outputs": [[0.5], 0.5]}', "uneven|not a list"),
        ('{"outputs": ["a"]}', "object, not float32"),
        ('{"outputs": [[0.5]]}', r"shape \(1, 1\), not \(1,\)"),
        ('{"outputs": [0.5, 0.5]}', r"shape \(2,\), not \(1,\)"),
        ('{"outputs": [NaN]}', "not finite"),
        ('{"outputs": {"other": [0.5]}}', "not a list"),
    ],
)
def test_an_unusable_answer_is_an_error(server: RestAnswering, answer: str, reason: str) -> None:
    server.answers = [(200, answer)]
    with client_of(server) as client, pytest.raises(RankingError, match=reason):
        client.rank(USER, ["x"])


def test_a_score_among_several_outputs_is_found(server: RestAnswering) -> None:
    server.answers = [(200, '{"outputs": {"score": [0.25], "other": [1.0]}}')]
    with client_of(server) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.25]


def test_unavailable_is_tried_again_and_nothing_else(server: RestAnswering) -> None:
    server.answers = [(503, "busy"), (503, '{"error": "loading"}'), (200, '{"outputs": [0.5]}')]
    with client_of(server) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]
        assert len(server.requests) == 3
        server.answers = [(404, '{"error": "no such model"}')]
        with pytest.raises(RankingError, match="no such model") as caught:
            client.rank(USER, ["x"])
    assert caught.value.code == "NOT_FOUND"
    assert len(server.requests) == 4


def signature(**inputs: str) -> str:
    types = {f"profile_{name}": {"dtype": data_type} for name, data_type in inputs.items()}
    definition = {"rank": {"inputs": {"user_id": {"dtype": "DT_STRING"}, **types}}}
    return json.dumps({"metadata": {"signature_def": {"signature_def": definition}}})


REFUSED = (400, '{"error": "Missing named input: profile_age"}')
METADATA = signature(age="DT_FLOAT", city="DT_STRING")


def test_what_the_model_reads_of_a_profile_is_learned_when_it_refuses(
    server: RestAnswering,
) -> None:
    server.answers = [REFUSED, (200, METADATA), (200, '{"outputs": [0.5]}')]
    with client_of(server) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]
        assert client.rank(USER, ["x"]).tolist() == [0.5]
    paths = [path for path, _ in server.requests]
    model = "/v1/models/my%20model"
    assert paths == [f"{model}:predict", f"{model}/metadata", *[f"{model}:predict"] * 2]
    for _, document in server.requests[2:]:
        assert document["inputs"]["profile_city"] == [[""]]
        ((age,),) = document["inputs"]["profile_age"]
        assert math.isnan(age)


@pytest.mark.parametrize(
    "metadata", [(200, signature()), (200, "{}"), (404, '{"error": "nothing"}'), (200, "no JSON")]
)
def test_a_refusal_for_another_reason_is_told(
    server: RestAnswering, metadata: tuple[int, str]
) -> None:
    server.answers = [REFUSED, metadata]
    with client_of(server) as client, pytest.raises(RankingError, match="Missing named") as caught:
        client.rank(USER, ["x"])
    assert caught.value.code == "INVALID_ARGUMENT"
    assert len(server.requests) == 2


def test_a_profile_is_checked_here_because_rest_skips_unknown_inputs(server: RestAnswering) -> None:
    user = UserRequest.from_history("u", [], [], profile={"age": 30})
    server.answers = [(200, METADATA), (200, '{"outputs": [0.5]}')]
    with client_of(server) as client:
        assert client.rank(user, ["x"]).tolist() == [0.5]
        assert client.rank(user, ["x"]).tolist() == [0.5]
        assert [path.rpartition("/")[2] for path, _ in server.requests] == [
            *("metadata", "my%20model:predict", "my%20model:predict"),
        ]
        server.answers = [(200, METADATA)]
        misspelt = UserRequest.from_history("u", [], [], profile={"agee": 30})
        with pytest.raises(ProfileError, match="'agee' is not one"):
            client.rank(misspelt, ["x"])


def test_a_label_is_part_of_the_address(server: RestAnswering) -> None:
    with client_of(server, version_label="canary 1") as client:
        client.rank(USER, ["x"])
        assert client.ask(USER, ["x"]).version is None
    with client_of(server, model_version=3) as client:
        assert client.ask(USER, ["x"]).version == 3
    paths = [path for path, _ in server.requests]
    assert paths[0] == "/v1/models/my%20model/labels/canary%201:predict"
    assert paths[2] == "/v1/models/my%20model/versions/3:predict"


def test_the_version_of_a_label_is_told_and_not_the_highest(server: RestAnswering) -> None:
    server.answers = [
        (400, '{"error": "no version has the label"}'),
        (200, '{"model_spec": {"name": "my model", "version": "7"}, "metadata": {}}'),
        (200, '{"metadata": {}}'),
    ]
    with client_of(server, version_label="stable") as client:
        assert client.wait_until_ready(LONGEST_SECONDS) == 7
        with pytest.raises(RankingError, match="does not tell the version"):
            client.served_version()
    assert {path for path, _ in server.requests} == {"/v1/models/my%20model/labels/stable/metadata"}


def test_whole_numbers_as_ids_are_learned_when_the_model_refuses(server: RestAnswering) -> None:
    definition = {"rank": {"inputs": {"item_id": {"dtype": "DT_INT64"}}}}
    metadata = json.dumps({"metadata": {"signature_def": {"signature_def": definition}}})
    server.answers = [REFUSED, (200, metadata), (200, '{"outputs": [0.5]}')]
    with client_of(server) as client:
        assert client.rank(USER, ["318"]).tolist() == [0.5]
        with pytest.raises(RankingError, match="whole numbers of 64 bits"):
            client.rank(USER, ["tt1"])
    assert server.requests[0][1]["inputs"]["item_id"] == ["318"]
    assert server.requests[2][1]["inputs"]["item_id"] == [318]


def retrieved(items: object, scores: object) -> list[tuple[int, str]]:
    return [(200, json.dumps({"outputs": {"item_id": items, "score": scores}}))]


def test_retrieved_items_end_where_the_answer_is_empty(server: RestAnswering) -> None:
    server.answers = retrieved([["a", "b", ""]], [[0.5, -0.25, 0.0]])
    with client_of(server) as client:
        actual = client.retrieve(USER)
    assert actual.item_ids == ["a", "b"]
    assert actual.scores.tolist() == [0.5, -0.25]
    ((_, document),) = server.requests
    assert document["signature_name"] == "top_k"
    assert "item_id" not in document["inputs"]


def test_no_item_at_all_may_be_retrieved(server: RestAnswering) -> None:
    server.answers = retrieved([[]], [[]])
    with client_of(server) as client:
        actual = client.retrieve(USER)
    assert actual.item_ids == [] and actual.scores.shape == (0,)


@pytest.mark.parametrize(
    ("items", "scores", "reason"),
    [
        ([["a"]], [[0.5, 0.25]], r"'score' has shape \(1, 2\), not \(1, 1\)"),
        (["a"], [0.5], r"'item_id' has shape \(1,\), not \(1, items\)"),
        ([["a"], ["b"]], [[0.5], [0.25]], r"'item_id' has shape \(2, 1\)"),
        ([[0.5]], [[0.5]], "'item_id' is float32, not strings"),
        ([[5, 0.5]], [[0.5, 0.5]], "'item_id' is not a list"),
        ([["a"]], [["b"]], "'score' is object, not float32"),
        (None, [[0.5]], "'item_id' is not a list"),
    ],
)
def test_unusable_items_are_an_error(
    server: RestAnswering, items: object, scores: object, reason: str
) -> None:
    server.answers = retrieved(items, scores)
    with client_of(server) as client, pytest.raises(RankingError, match=reason):
        client.retrieve(USER)


def test_an_error_without_explanation_shows_its_status(server: RestAnswering) -> None:
    server.answers = [(500, "<html>")]
    with client_of(server) as client, pytest.raises(RankingError, match="HTTP status 500"):
        client.rank(USER, ["x"])


def test_a_late_answer_is_an_error_with_the_deadline(server: RestAnswering) -> None:
    server.delay_seconds = NEVER_SECONDS
    with client_of(server, timeout_seconds=0.2) as client:
        with pytest.raises(RankingError, match=r"within 0\.2 s") as caught:
            client.rank(USER, ["x"])
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_an_answer_that_trickles_is_late_too(server: RestAnswering) -> None:
    server.byte_seconds = 0.1
    server.answers = [(200, '{"outputs": [0.5]}' + " " * 1000)]
    with client_of(server, timeout_seconds=1.0) as client:
        with pytest.raises(RankingError, match="within 1 s") as caught:
            client.rank(USER, ["x"])
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_everything_that_a_call_does_shares_its_deadline(
    server: RestAnswering, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.delay_seconds = 0.2
    server.answers = [REFUSED, (200, METADATA), (200, '{"outputs": [0.5]}')]
    seconds_left = []
    with client_of(server) as client:
        request = client._session.request

        def asked(*words: Any, timeout: Any, **options: Any) -> Any:
            seconds_left.append(timeout.total)
            return request(*words, timeout=timeout, **options)

        monkeypatch.setattr(client._session, "request", asked)
        assert client.rank(USER, ["x"]).tolist() == [0.5]
    first, second, third = seconds_left
    assert third < second - 0.15 < first - 0.3 <= LONGEST_SECONDS - 0.3


def test_an_answer_that_breaks_off_is_asked_for_again(server: RestAnswering) -> None:
    server.broken_off = 1
    with client_of(server) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]
        assert len(server.requests) == 2
        server.broken_off = 1
    with client_of(server, maximum_attempts=1) as client:
        with pytest.raises(ServerUnavailable, match="broke off its answer"):
            client.rank(USER, ["x"])


def test_a_server_that_comes_up_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with free_ports(1) as (port,), contextlib.ExitStack() as stack:
        late = Meanwhile(lambda: stack.enter_context(answering_over_rest(port)))
        monkeypatch.setattr(retries, "time", late)
        target = f"http://127.0.0.1:{port}"
        with RestRankingClient(target, "m", LONGEST_SECONDS, maximum_attempts=1000) as client:
            assert client.rank(USER, ["x"]).tolist() == [0.5]
    assert late.waits == 2


def test_no_server_is_an_error_that_names_the_target() -> None:
    with RestRankingClient("http://127.0.0.1:1", "m", LONGEST_SECONDS, 2) as client:
        with pytest.raises(ServerUnavailable, match="no server answers at http://127.0.0.1:1"):
            client.rank(USER, ["x"])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ('{"model_version_status": []}', "no available version"),
        ('{"model_version_status": [{"version": "1", "state": "LOADING"}]}', "no available"),
        ('{"model_version_status": [{}]}', "not a model status"),
        ("{}", "not a model status"),
    ],
)
def test_a_model_without_available_version_is_an_error(
    server: RestAnswering, answer: str, reason: str
) -> None:
    server.answers = [(200, answer)]
    with client_of(server) as client, pytest.raises(RankingError, match=reason):
        client.served_version()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (409, "ABORTED"),
        (413, "RESOURCE_EXHAUSTED"),
        (418, "UNKNOWN"),
        (429, "RESOURCE_EXHAUSTED"),
        (499, "CANCELLED"),
        (500, "INTERNAL"),
        (501, "UNIMPLEMENTED"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_a_status_of_http_has_a_code(status: int, code: str) -> None:
    with pytest.raises(RankingError, match="http://h:1 .*full") as caught:
        document_of(status, b'{"error": "full"}', "http://h:1")
    assert caught.value.code == code
    assert isinstance(caught.value, ServerUnavailable) == (status == 503)


@pytest.mark.parametrize("body", [b"", b"[1]", b"<html>", b"\xff", b"[" * 100_000])
def test_an_answer_must_be_an_object(body: bytes) -> None:
    with pytest.raises(RankingError, match="not a JSON object"):
        document_of(200, body, "http://h:1")
    with pytest.raises(RankingError, match="HTTP status 404"):
        document_of(404, body, "http://h:1")
    assert document_of(200, b'{"outputs": []}', "http://h:1") == {"outputs": []}


def test_arrays_have_the_type_of_their_values() -> None:
    scores = array_of("score", [[0.5, 0.25]])
    assert (scores.dtype, scores.tolist()) == (np.float32, [[0.5, 0.25]])
    assert array_of("item_id", [[318]]).dtype == np.int64
    assert array_of("item_id", [["a"]]).dtype == object
    assert (array_of("item_id", [[]]).dtype, array_of("score", [[]]).dtype) == (object, np.float32)
    for values in ([1], None, [[0.5], 0.5], ["a", 0.5], 0.5):
        with pytest.raises(RankingError, match="'score' is"):
            array_of("score", values)
