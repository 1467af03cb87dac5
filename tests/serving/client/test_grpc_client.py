from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf

from serving.client import (
    Hedging,
    RankingClient,
    RankingError,
    ServerUnavailable,
    retries,
)
from serving.client.errors import ModelAddress
from serving.client.grpc_client import (
    available_version_of,
    described_version_of,
    explained,
    input_kinds_of,
    metadata_request,
    status_request,
)
from serving.client.inputs import InputKind
from serving.protocol.messages import get_model_metadata_pb2, get_model_status_pb2, types_pb2
from tests.ports import free_ports
from tests.serving.client.answering import (
    READY_SECONDS,
    STATES,
    USER,
    Answering,
    Blocking,
    HastyClock,
    Meanwhile,
    Statuses,
    answering,
)
from tests.waiting import LONGEST_SECONDS, NEVER_SECONDS, wait_until


@pytest.fixture
def service() -> Answering:
    return Answering()


@pytest.fixture
def port(service: Answering) -> Iterator[int]:
    with answering(service) as port:
        yield port


both_clients = pytest.mark.parametrize("client_class", [RankingClient, Blocking])


def test_the_request_is_what_tensorflow_reads(service: Answering, port: int) -> None:
    service.outputs = {"score": np.float32([0.5, 0.25])}
    with RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client:
        assert client.rank(USER, ["x", "ü"]).tolist() == [0.5, 0.25]
    (request,) = service.requests
    assert (request.model_spec.name, request.model_spec.signature_name) == ("m", "rank")
    assert not request.model_spec.HasField("version")
    assert tf.make_ndarray(request.inputs["item_id"]).tolist() == [b"x", "ü".encode()]
    history = tf.make_ndarray(request.inputs["history_rating"])
    assert history.dtype == np.float32
    assert history.tolist() == [[4.0]]
    assert 0 < service.seconds_left[0] <= LONGEST_SECONDS + 1  # gRPC rounds up


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        ({}, "no output 'score'"),
        ({"other": np.float32([0.5, 0.5])}, "no output 'score'"),
        ({"score": np.float32([0.5])}, r"shape \(1,\), not \(2,\)"),
        ({"score": np.float32([[0.5], [0.5]])}, r"shape \(2, 1\)"),
        ({"score": np.float64([0.5, 0.5])}, "float64"),
        ({"score": np.float32([0.5, np.nan])}, "not finite"),
        ({"score": np.array(["a", "b"])}, "not float32"),
    ],
)
def test_an_unusable_answer_is_an_error(
    service: Answering, port: int, outputs: dict[str, np.ndarray], reason: str
) -> None:
    service.outputs = outputs
    with RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client:
        with pytest.raises(RankingError, match=reason):
            client.rank(USER, ["x", "y"])


@both_clients
@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "NOT_FOUND"])
def test_unavailable_is_tried_again_and_nothing_else(
    service: Answering, port: int, client_class: type[RankingClient], code: str
) -> None:
    service.outputs = {"score": np.float32([0.5])}
    service.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    with client_class(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]
        assert len(service.requests) == 3
        service.failures = [grpc.StatusCode[code]]
        with pytest.raises(RankingError, match="by design") as caught:
            client.rank(USER, ["x"])
    assert caught.value.code == code
    assert len(service.requests) == 4


@both_clients
def test_what_the_model_reads_of_a_profile_is_learned_when_it_refuses(
    service: Answering, port: int, client_class: type[RankingClient]
) -> None:
    service.outputs = {"score": np.float32([0.5])}
    service.failures = [grpc.StatusCode.INVALID_ARGUMENT]
    service.input_types = {"profile_age": types_pb2.DT_FLOAT, "profile_city": types_pb2.DT_STRING}
    with client_class(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]
        assert client.rank(USER, ["x"]).tolist() == [0.5]
    refused, *accepted = service.requests
    assert "profile_age" not in refused.inputs and len(accepted) == 2
    for request in accepted:
        age = tf.make_ndarray(request.inputs["profile_age"])
        assert age.shape == (1, 1) and np.isnan(age).all()
        assert tf.make_ndarray(request.inputs["profile_city"]).tolist() == [[b""]]


@both_clients
def test_retrieved_items_end_where_the_answer_is_empty(
    service: Answering, port: int, client_class: type[RankingClient]
) -> None:
    service.outputs = {
        "item_id": np.array([["ü", "b", ""]]),
        "score": np.float32([[0.5, -0.25, 0]]),
        "other": np.float32([1]),
    }
    with client_class(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client:
        actual = client.retrieve(USER)
    assert actual.item_ids == ["ü", "b"]
    assert actual.scores.tolist() == [0.5, -0.25]
    (request,) = service.requests
    assert request.model_spec.signature_name == "top_k"
    assert list(request.output_filter) == ["item_id", "score"]
    assert "item_id" not in request.inputs


@both_clients
def test_a_late_answer_is_an_error_with_the_deadline(
    service: Answering, port: int, client_class: type[RankingClient]
) -> None:
    service.delays = [NEVER_SECONDS]
    with client_class(f"127.0.0.1:{port}", "m", timeout_seconds=0.2) as client:
        with pytest.raises(RankingError, match=r"within 0\.2 s") as caught:
            client.rank(USER, ["x"])
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_a_server_that_comes_up_late_is_waited_for(
    service: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.outputs = {"score": np.float32([0.5])}
    with free_ports(1) as (port,), contextlib.ExitStack() as stack:
        late = Meanwhile(lambda: stack.enter_context(answering(service, port=port)))
        monkeypatch.setattr(retries, "time", late)
        with RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS, 1000) as client:
            assert client.rank(USER, ["x"]).tolist() == [0.5]
    assert late.waits >= 2


@both_clients
def test_no_server_is_an_error_that_names_the_target(client_class: type[RankingClient]) -> None:
    with free_ports(1) as (port,):
        with client_class(f"127.0.0.1:{port}", "m", LONGEST_SECONDS, 2) as client:
            with pytest.raises(
                ServerUnavailable, match=f"no server takes requests at 127.0.0.1:{port}"
            ):
                client.rank(USER, ["x"])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "time", HastyClock())


@both_clients
@pytest.mark.usefixtures("hasty")
def test_a_model_that_is_still_loading_has_no_version(
    port: int, client_class: type[RankingClient]
) -> None:
    with client_class(f"127.0.0.1:{port}", "m", NEVER_SECONDS) as client:
        for ask in (client.served_version, lambda: client.wait_until_ready(READY_SECONDS)):
            with pytest.raises(RankingError, match="no available version"):
                ask()


@both_clients
def test_a_model_that_loads_is_waited_for(
    service: Answering, client_class: type[RankingClient]
) -> None:
    states = Statuses(STATES.START, STATES.LOADING, STATES.LOADING, STATES.AVAILABLE)
    with (
        answering(service, states) as port,
        client_class(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client,
    ):
        assert client.wait_until_ready(LONGEST_SECONDS) == 1
        assert states.states == [STATES.AVAILABLE]
        assert client.served_version() == 1


@both_clients
@pytest.mark.usefixtures("hasty")
def test_the_version_of_a_label_is_told_and_not_the_highest(
    service: Answering, client_class: type[RankingClient]
) -> None:
    service.labels = {"stable": 7}
    with answering(service, Statuses(STATES.AVAILABLE)) as port:
        target = f"127.0.0.1:{port}"
        with client_class(target, "m", NEVER_SECONDS, version_label="stable") as client:
            assert client.served_version() == 7
            assert client.wait_until_ready(READY_SECONDS) == 7
        with client_class(target, "m", NEVER_SECONDS, version_label="canary") as client:
            for ask in (client.served_version, lambda: client.wait_until_ready(READY_SECONDS)):
                with pytest.raises(RankingError, match="no version has label canary") as caught:
                    ask()
                assert caught.value.code == "INVALID_ARGUMENT"


def test_a_label_that_comes_late_is_waited_for(
    service: Answering, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = Meanwhile(lambda: service.labels.update(stable=7))
    monkeypatch.setattr(retries, "time", late)
    with answering(service, Statuses(STATES.AVAILABLE)) as port:
        target = f"127.0.0.1:{port}"
        with RankingClient(target, "m", LONGEST_SECONDS, version_label="stable") as client:
            assert client.wait_until_ready(LONGEST_SECONDS) == 7
    assert late.waits == 2


@both_clients
def test_everything_that_a_call_does_shares_its_deadline(
    client_class: type[RankingClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = 0.0

    class Slow(Answering):
        def Predict(self, request, context):  # noqa: N802
            nonlocal ahead
            ahead += 200.0
            return super().Predict(request, context)

    slow = Slow({"score": np.float32([0.5])})
    slow.failures = [grpc.StatusCode.INVALID_ARGUMENT]
    slow.input_types = {"profile_age": types_pb2.DT_FLOAT, "item_id": types_pb2.DT_INT64}
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + ahead, sleep=time.sleep)
    monkeypatch.setattr(retries, "time", clock)
    with answering(slow) as port, client_class(f"127.0.0.1:{port}", "m", 600) as client:
        assert client.rank(USER, ["1"]).tolist() == [0.5]
    first, metadata, second = slow.seconds_left
    # gRPC rounds deadlines, the longer the more.
    assert 450 < first <= 610
    assert 250 < metadata <= 410 and 250 < second <= 410


def test_the_version_that_answered_is_told(service: Answering, port: int) -> None:
    service.outputs = {"score": np.float32([0.5]), "score_loved": np.float32([0.25])}
    with RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client:
        assert client.ask(USER, ["x"]).version is None
        service.version = 12
        answer = client.ask(USER, ["x"])
    assert answer.version == 12
    assert {name: scores.tolist() for name, scores in answer.tasks.items()} == {"loved": [0.25]}


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ({"version_label": "canary"}, "version_label", "canary"),
        ({"model_version": 4}, "version", 4),
        ({}, None, None),
    ],
)
def test_a_version_is_asked_for(
    service: Answering, port: int, options: dict[str, object], field: str, value: object
) -> None:
    service.outputs = {"score": np.float32([0.5])}
    with RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS, **options) as client:
        client.rank(USER, ["x"])
    specification = service.requests[0].model_spec
    assert specification.WhichOneof("version_choice") == field
    if field is not None:
        actual = getattr(specification, field)
        assert getattr(actual, "value", actual) == value


@both_clients
def test_whole_numbers_as_ids_are_learned_when_the_model_refuses(
    service: Answering, port: int, client_class: type[RankingClient]
) -> None:
    service.outputs = {"score": np.float32([0.5])}
    service.failures = [grpc.StatusCode.INVALID_ARGUMENT]
    names = ("user_id", "item_id", "history_item_id")
    service.input_types = dict.fromkeys(names, types_pb2.DT_INT64)
    with client_class(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client:
        for candidate in ("318", 318):
            assert client.rank(USER, [candidate]).tolist() == [0.5]
        with pytest.raises(RankingError, match="'item_id'.*whole numbers.*'tt0111161'") as caught:
            client.rank(USER, ["318", "tt0111161"])
    assert caught.value.code == "INVALID_ARGUMENT"
    refused, *accepted = service.requests
    assert tf.make_ndarray(refused.inputs["item_id"]).tolist() == [b"318"]
    assert len(accepted) == 2
    for request in accepted:
        values = {name: tf.make_ndarray(request.inputs[name]) for name in names}
        assert {array.dtype for array in values.values()} == {np.dtype(np.int64)}
        assert [array.tolist() for array in values.values()] == [[7], [318], [[11]]]


def test_a_slow_answer_is_overtaken_by_a_hedge(service: Answering, port: int) -> None:
    service.outputs = {"score": np.float32([0.5])}
    service.delays = [NEVER_SECONDS]
    hedging = Hedging(after_seconds=0.05, largest_share=1.0)
    with RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS, hedging=hedging) as client:
        assert client.rank(USER, ["x"]).tolist() == [0.5]
        budget = client.hedge_budget
        assert budget is not None and (budget.requests, budget.hedges) == (1, 1)
        wait_until(lambda: service.cancelled == 1)
        assert len(service.requests) == 2
        # Answered at once, and hedged only on a machine that is slow itself.
        assert client.rank(USER, ["x"]).tolist() == [0.5]
    assert budget.requests == 2 and budget.hedges <= 2


@pytest.mark.parametrize("hedging", [None, Hedging(after_seconds=0.05, largest_share=1.0)])
def test_a_client_that_is_closed_meanwhile_says_so(
    service: Answering, port: int, hedging: Hedging | None
) -> None:
    service.delays = [NEVER_SECONDS] * 2
    client = RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS, hedging=hedging)

    def close_meanwhile() -> None:
        wait_until(lambda: bool(service.requests))
        client.close()

    threading.Thread(target=close_meanwhile).start()
    with pytest.raises(RankingError, match="closed") as caught:
        client.rank(USER, ["x"])
    assert caught.value.code == "CANCELLED"


@pytest.mark.parametrize("hedging", [None, Hedging(after_seconds=1.0)])
def test_a_client_that_was_closed_before_says_so(port: int, hedging: Hedging | None) -> None:
    client = RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS, hedging=hedging)
    client.close()
    with pytest.raises(RankingError, match="not asked any more .*closed") as caught:
        client.rank(USER, ["x"])
    assert caught.value.code == "CANCELLED"


def test_without_hedging_nothing_is_sent_twice(service: Answering, port: int) -> None:
    service.outputs = {"score": np.float32([0.5])}
    service.delays = [0.3]
    with RankingClient(f"127.0.0.1:{port}", "m", LONGEST_SECONDS) as client:
        client.rank(USER, ["x"])
        assert client.hedge_budget is None
    assert len(service.requests) == 1


ADDRESS = ModelAddress("h:1", "movies", None, "stable")


class Failed(grpc.RpcError):
    def __init__(self, code: grpc.StatusCode):
        super().__init__()
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "by design"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (grpc.StatusCode.UNAVAILABLE, r"no server takes requests at h:1 \(by design\)"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, r"h:1 did not answer within 1\.5 s"),
        (grpc.StatusCode.NOT_FOUND, "h:1 refused the request: by design"),
    ],
)
def test_failures_keep_their_code(code: grpc.StatusCode, message: str) -> None:
    error = explained(Failed(code), ADDRESS, 1.5)
    with pytest.raises(RankingError, match=message):
        raise error
    assert error.code == code.name
    assert isinstance(error, ServerUnavailable) == (code is grpc.StatusCode.UNAVAILABLE)


def test_every_request_names_the_label() -> None:
    for request in (metadata_request(ADDRESS), status_request(ADDRESS)):
        assert request.model_spec.name == "movies"
        assert request.model_spec.version_label == "stable"


def test_the_highest_available_version_counts() -> None:
    states = get_model_status_pb2.ModelVersionStatus
    response = get_model_status_pb2.GetModelStatusResponse()
    with pytest.raises(RankingError, match="'movies' has no available version"):
        available_version_of(response, ADDRESS)
    for version, state in ((4, states.AVAILABLE), (11, states.AVAILABLE), (12, states.LOADING)):
        response.model_version_status.add(version=version, state=state)
    assert available_version_of(response, ADDRESS) == 11


def test_metadata_tell_the_version_that_they_describe() -> None:
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    with pytest.raises(RankingError, match="does not tell the version"):
        described_version_of(response)
    response.model_spec.version.value = 0
    assert described_version_of(response) == 0


def test_kinds_of_inputs_are_told_apart() -> None:
    signatures = get_model_metadata_pb2.SignatureDefMap()
    inputs = signatures.signature_def["rank"].inputs
    for name, number in (("a", types_pb2.DT_STRING), ("b", types_pb2.DT_INT64)):
        inputs[name].dtype = number
    inputs["c"].dtype = types_pb2.DT_FLOAT
    response = get_model_metadata_pb2.GetModelMetadataResponse()
    response.metadata["signature_def"].Pack(signatures)
    assert input_kinds_of(response, "rank") == {
        "a": InputKind.STRINGS,
        "b": InputKind.INTEGERS,
        "c": InputKind.NUMBERS,
    }
    with pytest.raises(RankingError, match="'top_k' was not found") as caught:
        input_kinds_of(response, "top_k")
    assert caught.value.code == "FAILED_PRECONDITION"
