from __future__ import annotations

import shutil
import socket
import threading
from pathlib import Path

import grpc
import pytest
import requests
from tensorflow_serving.apis import get_model_status_pb2, model_service_pb2_grpc

from configs.command_line import CommandError
from serving.server import LocalServer
from tests.serving.toy_ranker import toy_base_path


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_free_ports_are_found_and_closed_again() -> None:
    with LocalServer({"toy": toy_base_path()}) as server:
        ports = (server.grpc_port, server.rest_port)
        assert server.versions == {"toy": 3}
        assert 0 not in ports
        assert ports[0] != ports[1]
        assert all(is_open(port) for port in ports)
    assert not any(is_open(port) for port in ports)


def test_a_server_can_start_again_on_its_ports() -> None:
    server = LocalServer({"toy": toy_base_path()})
    for _ in range(2):
        with server:
            status = requests.get(f"http://127.0.0.1:{server.rest_port}/v1/models/toy", timeout=20)
            assert status.status_code == 200


def test_several_models_and_the_latest_version(tmp_path: Path) -> None:
    for version in ("3", "12"):
        shutil.copytree(toy_base_path() / "3", tmp_path / version)
    with LocalServer({"one": toy_base_path(), "two": tmp_path}) as server:
        assert server.versions == {"one": 3, "two": 12}
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            status = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
                get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "two"}), 20
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
