from __future__ import annotations

import logging
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from configs.command_line import CommandError
from serving.options import ServerOptions
from serving.protocol.messages import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from serving.server import LocalServer, local_server
from serving.server.errors import RequestError
from serving.server.model_store import load_servable
from serving.server.servable import Servable
from serving.server.server_files import ModelSettings, VersionPolicy
from tests.ports import is_open, needs_ipv6
from tests.serving.server.numbered_model import add_request, answer_of, put_numbered_model
from tests.serving.toy_ranker import toy_base_path, toy_rows
from tests.waiting import LONGEST_SECONDS, NEVER_SECONDS, wait_until


def test_defaults_are_those_that_the_page_states() -> None:
    options = ServerOptions()
    assert options.poll_seconds == 1
    assert options.max_grpc_request_bytes == options.max_rest_request_bytes == 67_108_864
    assert (options.grpc_threads, options.grace_seconds) == (16, 5)
    assert options.max_grpc_requests == 1024
    assert options.max_request_rows == 20_000
    assert options.max_request_input_bytes == 256 * 1024 * 1024
    assert options.max_rest_connections == 512
    assert options.max_rest_connections_per_peer == 256
    assert (options.rest_header_seconds, options.rest_body_seconds) == (10, 60)
    assert options.rest_keep_alive_seconds == 5
    assert LocalServer({}).tls is None
    assert not options.allow_version_labels_for_unavailable_models


def test_free_ports_are_found_and_closed_again() -> None:
    with LocalServer({"toy": toy_base_path()}) as server:
        ports = (server.grpc_port, server.rest_port)
        assert server.versions == {"toy": 3}
        assert 0 not in ports
        assert ports[0] != ports[1]
        assert all(is_open(port) for port in ports)
    assert not any(is_open(port) for port in ports)


def test_a_server_can_start_again_on_its_ports() -> None:
    # An address of this test alone, so that nobody gets the ports while they are closed.
    server = LocalServer({"toy": toy_base_path()}, host="127.0.0.77")
    for _ in range(2):
        with server:
            url = f"http://{server.host}:{server.rest_port}/v1/models/toy"
            status = requests.get(url, timeout=LONGEST_SECONDS)
            assert status.status_code == 200


def test_several_models_and_the_latest_version(tmp_path: Path) -> None:
    for version in ("3", "12"):
        shutil.copytree(toy_base_path() / "3", tmp_path / version)
    with LocalServer({"one": toy_base_path(), "two": tmp_path}) as server:
        assert server.versions == {"one": 3, "two": 12}
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
                get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "two"}),
                LONGEST_SECONDS,
            )
    assert [one.version for one in status.model_version_status] == [12]


@pytest.mark.parametrize("kind", ["gRPC", "REST"])
def test_a_port_in_use_is_an_error_and_leaves_nothing_open(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"grpc_port": port} if kind == "gRPC" else {"rest_port": port}
        server = LocalServer({"toy": toy_base_path()}, **ports)
        with pytest.raises(CommandError, match=f"the {kind} port 127.0.0.1:{port}"):
            server.start()
    assert not is_open(server.grpc_port)
    assert not [thread for thread in threading.enumerate() if thread.name == "rest"]


def test_a_model_that_cannot_be_loaded_opens_no_port(tmp_path: Path) -> None:
    server = LocalServer({"toy": toy_base_path(), "broken": tmp_path})
    with pytest.raises(CommandError, match="broken"):
        server.start()
    assert (server.grpc_port, server.rest_port, server.versions) == (0, 0, {})


def test_stopping_twice_is_harmless() -> None:
    server = LocalServer({"toy": toy_base_path()})
    server.start()
    server.stop()
    server.stop()
    assert not is_open(server.rest_port)


def put_versions(base: Path, *versions: int) -> Path:
    for version in versions:
        put_numbered_model(base, version)
    return base


def health(server: LocalServer) -> int:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        request = health_pb2.HealthCheckRequest()
        return health_pb2_grpc.HealthStub(channel).Check(request, timeout=LONGEST_SECONDS).status


def test_settings_choose_versions_and_labels(tmp_path: Path) -> None:
    base = put_versions(tmp_path, 1, 2, 3)
    labelled = ModelSettings("numbered", base, VersionPolicy.parse("specific:1,2"), {"stable": 1})
    with LocalServer([labelled]) as server:
        assert server.versions == {"numbered": 2}
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert answer_of(stub.Predict(add_request([0.0]), LONGEST_SECONDS)) == [2]
            assert answer_of(
                stub.Predict(add_request([0.0], version_label="stable"), LONGEST_SECONDS)
            ) == [1]
        url = f"http://127.0.0.1:{server.rest_port}/v1/models/numbered/labels/stable"
        # What the deployment's readiness probe asks.
        assert requests.get(f"{url}/metadata", timeout=LONGEST_SECONDS).status_code == 200
        assert (
            requests.get(url, timeout=LONGEST_SECONDS).json()["model_version_status"][0]["version"]
            == "1"
        )


def test_without_polling_new_versions_are_left_alone(tmp_path: Path) -> None:
    base = put_versions(tmp_path, 1)
    with LocalServer({"numbered": base}, options=ServerOptions(poll_seconds=0)) as server:
        assert "versions" not in [thread.name for thread in threading.enumerate()]
        put_versions(base, 2)
        server.reload(server.models)
        assert server.versions == {"numbered": 2}


def test_health_follows_the_models(tmp_path: Path) -> None:
    base = put_versions(tmp_path / "base", 1)
    with LocalServer({"numbered": base}, options=ServerOptions(poll_seconds=0.02)) as server:
        assert health(server) == health_pb2.HealthCheckResponse.SERVING
        shutil.rmtree(base / "1")
        wait_until(lambda: health(server) == health_pb2.HealthCheckResponse.NOT_SERVING)
        put_versions(base, 2)
        wait_until(lambda: health(server) == health_pb2.HealthCheckResponse.SERVING)
        with pytest.raises(RequestError):
            server.reload([*server.models, ModelSettings("missing", tmp_path / "missing")])
        assert health(server) == health_pb2.HealthCheckResponse.NOT_SERVING


def test_more_requests_than_the_bound_are_refused_until_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, finish = threading.Semaphore(0), threading.Event()
    run = Servable.run

    def slow(*arguments: Any) -> Any:
        begun.release()
        assert finish.wait(LONGEST_SECONDS)
        return run(*arguments)

    monkeypatch.setattr(Servable, "run", slow)
    options = ServerOptions(grpc_threads=2, max_grpc_requests=5)
    with LocalServer({"numbered": put_versions(tmp_path, 1)}, options=options) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            answers = {
                number: stub.Predict.future(add_request([number]), LONGEST_SECONDS)
                for number in range(9)
            }
            wait_until(lambda: sum(answer.done() for answer in answers.values()) == 4)
            assert begun.acquire(timeout=LONGEST_SECONDS) and begun.acquire(timeout=LONGEST_SECONDS)
            assert not begun.acquire(blocking=False)
            refused = {number for number, answer in answers.items() if answer.done()}
            for number in refused:
                assert answers[number].code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            # The other port has threads of its own.
            url = f"http://127.0.0.1:{server.rest_port}/v1/models/numbered"
            assert requests.get(url, timeout=LONGEST_SECONDS).status_code == 200
            finish.set()
            for number in answers.keys() - refused:
                assert answer_of(answers[number].result()) == [number + 1]
            assert health(server) == health_pb2.HealthCheckResponse.SERVING
            assert [
                answer_of(stub.Predict(add_request([number]), LONGEST_SECONDS))
                for number in range(20)
            ] == [[number + 1] for number in range(20)]


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"PRI * HTTP/2.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["nothing", "half a preface", "settings alone", "another protocol"],
)
def test_connections_that_ask_nothing_over_grpc_lock_nobody_out(begun: bytes) -> None:
    options = ServerOptions(grpc_threads=2, max_grpc_requests=2)
    with LocalServer({"toy": toy_base_path()}, options=options) as server:
        idle = [socket.create_connection(("127.0.0.1", server.grpc_port)) for _ in range(100)]
        for connection in idle:
            connection.sendall(begun)
        assert health(server) == health_pb2.HealthCheckResponse.SERVING
        for connection in idle:
            connection.close()
        assert health(server) == health_pb2.HealthCheckResponse.SERVING


def test_a_stop_answers_what_is_under_way_and_refuses_what_comes_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = LocalServer({"numbered": put_versions(tmp_path, 1)})
    server.start()
    answers: list[list[float]] = []
    refusals: list[grpc.StatusCode] = []

    def call() -> None:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while True:
                try:
                    answers.append(answer_of(stub.Predict(add_request([1.0]), LONGEST_SECONDS)))
                except grpc.RpcError as error:
                    refusals.append(error.code())
                    return

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answers) > 20)

    def until_all_have_learnt_it(seconds: float) -> None:
        for thread in threads:
            thread.join(LONGEST_SECONDS)

    monkeypatch.setattr(
        local_server,
        "time",
        SimpleNamespace(monotonic=time.monotonic, sleep=until_all_have_learnt_it),
    )
    server.stop()
    assert not any(thread.is_alive() for thread in threads)
    assert set(map(tuple, answers)) == {(2.0,)}
    assert refusals == [grpc.StatusCode.UNAVAILABLE] * 3


def test_a_stop_does_not_wait_for_a_load_longer_than_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, finish = threading.Event(), threading.Event()

    def slowly(name: str, version: int, folder: Path) -> Servable:
        if version == 2:
            started.set()
            finish.wait(LONGEST_SECONDS)
        return load_servable(name, version, folder)

    monkeypatch.setattr(local_server, "load_servable", slowly)
    base = put_versions(tmp_path, 1)
    server = LocalServer({"numbered": base}, options=ServerOptions(poll_seconds=0.02))
    server.start()
    put_versions(base, 2)
    assert started.wait(LONGEST_SECONDS)
    stopping = threading.Thread(target=server.stop, args=(0.2,))
    stopping.start()
    stopping.join(LONGEST_SECONDS)
    assert not stopping.is_alive()
    assert not is_open(server.grpc_port)
    finish.set()
    wait_until(lambda: "versions" not in [thread.name for thread in threading.enumerate()])


def test_the_file_of_models_is_watched_until_the_stop(tmp_path: Path) -> None:
    base = put_versions(tmp_path / "base", 1)
    config = tmp_path / "models.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "renamed" base_path: "{base}" '
        'model_platform: "tensorflow" } }'
    )
    server = LocalServer({"numbered": base})
    with server:
        server.watch_models_config(config, 0.02)
        wait_until(lambda: server.versions == {"renamed": 1})
    wait_until(lambda: "models.config" not in [thread.name for thread in threading.enumerate()])
    server.reload([])  # of a watch that ends later than the server


@needs_ipv6
def test_an_address_of_ipv6_is_listened_on(tmp_path: Path) -> None:
    with LocalServer({"numbered": put_versions(tmp_path, 4)}, host="::1") as server:
        with grpc.insecure_channel(f"[::1]:{server.grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert answer_of(stub.Predict(add_request([1.0]), LONGEST_SECONDS)) == [5]
        url = f"http://[::1]:{server.rest_port}/v1/models/numbered"
        assert requests.get(url, timeout=LONGEST_SECONDS).status_code == 200


def test_a_dropped_version_is_freed_without_any_poll_or_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = put_versions(tmp_path, 1, 2)
    first = ModelSettings("numbered", base, VersionPolicy.parse("specific:1"))
    in_use = []

    def kept(*arguments: Any, **options: Any) -> Servable:
        in_use.append(load_servable(*arguments, **options))
        return in_use[-1]

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO):
        patch.setattr(local_server, "load_servable", kept)
        with LocalServer([first], options=ServerOptions(poll_seconds=0)) as server:
            server.reload([ModelSettings("numbered", base)])
            assert "version 1 is unloaded" not in caplog.text
            in_use.clear()
            wait_until(lambda: "version 1 is unloaded" in caplog.text)


def test_a_stop_does_not_wait_for_a_load_that_a_request_asked_for(tmp_path: Path) -> None:
    base, finish, loading = put_versions(tmp_path, 1), threading.Event(), threading.Event()

    def load(*arguments: Any, **options: Any) -> Servable:
        if threading.current_thread().name == "reload":
            loading.set()
            assert finish.wait(LONGEST_SECONDS)
        return load_servable(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_server, "load_servable", load)
        server = LocalServer({"numbered": base}, options=ServerOptions(poll_seconds=0))
        with server:
            put_versions(tmp_path, 2)
            request = model_management_pb2.ReloadConfigRequest()
            request.config.model_config_list.config.add(
                name="numbered", base_path=str(base), model_platform="tensorflow"
            )
            with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
                models = model_service_pb2_grpc.ModelServiceStub(channel)
                answer = models.HandleReloadConfigRequest.future(request, timeout=LONGEST_SECONDS)
                assert loading.wait(LONGEST_SECONDS)
                server.stop(grace_seconds=0.3)
                assert answer.code() is grpc.StatusCode.UNAVAILABLE
    # Nothing that the end of a program waits for is still at it.
    at_work = [one for one in threading.enumerate() if one.name == "reload"]
    assert at_work and all(one.daemon for one in at_work)
    finish.set()
    wait_until(lambda: "reload" not in [thread.name for thread in threading.enumerate()])


def test_a_stop_refuses_requests_that_are_not_complete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    patient = ServerOptions(rest_header_seconds=NEVER_SECONDS, rest_body_seconds=NEVER_SECONDS)
    server = LocalServer({"toy": toy_base_path()}, options=patient)
    server.start()
    begun = (
        b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{",
        b"POST /v1/models/toy:predict HTTP/1.1\r\nHo",
        b"",
    )
    connections = [socket.create_connection(("127.0.0.1", server.rest_port)) for _ in begun]
    for connection, part in zip(connections, begun, strict=True):
        connection.sendall(part)
    # So the server has read what was sent before.
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/toy"
    assert requests.get(url, timeout=LONGEST_SECONDS).status_code == 200
    server.stop(grace_seconds=LONGEST_SECONDS)
    answers = [connection.recv(1000) for connection in connections]
    assert answers[0].startswith(b"HTTP/1.1 503 Service Unavailable")
    assert answers[0].endswith(b'{"error": "The server is stopping"}')
    assert answers[1:] == [b"", b""]
    for connection in connections:
        connection.close()
    assert not [record.getMessage() for record in caplog.records if record.exc_info]


def test_a_request_that_takes_longer_than_a_stop_allows_is_refused(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, finish = threading.Event(), threading.Event()
    run = Servable.run

    def slow(*arguments: Any) -> Any:
        begun.set()
        assert finish.wait(LONGEST_SECONDS)
        return run(*arguments)

    server = LocalServer({"toy": toy_base_path()})
    server.start()
    monkeypatch.setattr(Servable, "run", slow)
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/toy:predict"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            requests.post, url, json={"inputs": toy_rows()}, timeout=LONGEST_SECONDS
        )
        assert begun.wait(LONGEST_SECONDS)
        server.stop(grace_seconds=0.1)
        finish.set()
        assert answer.result().status_code == 503
        assert answer.result().json() == {"error": "The server is stopping"}
    assert not [record.getMessage() for record in caplog.records if record.exc_info]
