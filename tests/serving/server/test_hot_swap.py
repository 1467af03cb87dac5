"""A new version takes over while requests are answered."""

from __future__ import annotations

import functools
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import requests

from serving.options import ServerOptions
from serving.protocol.messages import (
    get_model_status_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)
from serving.server import LocalServer
from tests.serving.server.numbered_model import (
    add_request,
    answer_of,
    put_numbered_model,
    warmup_record,
)
from tests.waiting import LONGEST_SECONDS as SECONDS
from tests.waiting import wait_until

AVAILABLE, END = 30, 50


class Callers:
    """Threads that send one request after the other, over gRPC and REST, and check every answer."""

    def __init__(self, server: LocalServer):
        self.versions: set[int] = set()
        self.count = 0
        self.problems: list[str] = []
        self._server = server
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(call,))
            for call in (self._grpc, self._grpc, self._rest)
        ]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, call) -> None:
        try:
            call()
        except Exception as error:
            self.problems.append(repr(error))

    def _grpc(self) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self._server.grpc_port}") as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            while not self._stop.is_set():
                response = stub.Predict(add_request([1.0, 2.0]), SECONDS)
                version = response.model_spec.version.value
                assert answer_of(response) == [1.0 + version, 2.0 + version]
                self.versions.add(version)
                self.count += 1

    def _rest(self) -> None:
        url = f"http://127.0.0.1:{self._server.rest_port}/v1/models/numbered:predict"
        with requests.Session() as session:
            while not self._stop.is_set():
                answer = session.post(url, json={"inputs": [0.0]}, timeout=SECONDS)
                assert answer.status_code == 200, answer.text
                assert answer.json()["outputs"][0] in (1.0, 2.0, 3.0)
                self.count += 1


@pytest.fixture
def base(tmp_path: Path) -> Path:
    put_numbered_model(tmp_path / "base", 1)
    return tmp_path / "base"


@pytest.fixture
def server(base: Path) -> Iterator[LocalServer]:
    # Or a caller that stands still for a while would find its connection closed.
    options = ServerOptions(poll_seconds=0.02, rest_keep_alive_seconds=SECONDS)
    with LocalServer({"numbered": base}, options=options) as server:
        yield server


def states(server: LocalServer) -> dict[int, int]:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        response = model_service_pb2_grpc.ModelServiceStub(channel).GetModelStatus(
            get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "numbered"}), SECONDS
        )
    return {one.version: one.state for one in response.model_version_status}


def test_no_request_fails_while_versions_come_and_go(base: Path, server: LocalServer) -> None:
    with Callers(server) as callers:
        wait_until(lambda: callers.versions == {1})
        for version in (2, 3):
            put_numbered_model(base, version)
            wait_until(functools.partial(callers.versions.__contains__, version))
            shutil.rmtree(base / str(version - 1))
        wait_until(lambda: states(server) == {3: AVAILABLE, 2: END, 1: END})
        count = callers.count
        wait_until(lambda: callers.count > count + 20)
    assert callers.problems == []
    assert callers.versions == {1, 2, 3}


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(
    "kind",
    ["empty", "damaged", "flipped variable", "flipped index", "incomplete", "failing warm-up"],
)
def test_a_broken_version_is_reported_and_no_request_notices(
    base: Path, server: LocalServer, kind: str
) -> None:
    with Callers(server) as callers:
        if kind == "empty":
            (base / "2").mkdir()
        elif kind == "failing warm-up":
            wrong = add_request([1.0], signature_name="guess")
            put_numbered_model(base, 2, warmup_record(wrong))
        else:
            unfinished = put_numbered_model(base.parent / "elsewhere", 2)
            if kind == "damaged":
                (unfinished / "saved_model.pb").write_bytes(b"\xff\xff\xff")
            elif kind == "flipped variable":
                flip_a_bit(unfinished / "variables" / "variables.data-00000-of-00001")
            elif kind == "flipped index":
                flip_a_bit(unfinished / "variables" / "variables.index")
            else:
                shutil.rmtree(unfinished / "variables")
            unfinished.rename(base / "2")
        wait_until(lambda: states(server) == {2: END, 1: AVAILABLE})
        count = callers.count
        wait_until(lambda: callers.count > count + 10)
    assert callers.problems == []
    assert callers.versions == {1}
    url = f"http://127.0.0.1:{server.rest_port}/v1/models/numbered/versions/2"
    (status,) = requests.get(url, timeout=SECONDS).json()["model_version_status"]
    assert status["state"] == "END"
    assert status["status"]["error_code"] != "OK"
    assert str(base / "2") in status["status"]["error_message"]


def test_the_version_below_takes_over_from_one_that_is_deleted(
    base: Path, server: LocalServer
) -> None:
    put_numbered_model(base, 2)
    wait_until(lambda: states(server) == {2: AVAILABLE, 1: END})
    with Callers(server) as callers:
        wait_until(lambda: callers.count > 10)
        shutil.rmtree(base / "2")
        wait_until(lambda: 1 in callers.versions)
        count = callers.count
        wait_until(lambda: callers.count > count + 10)
    assert callers.problems == []
    assert callers.versions == {1, 2}


def test_an_export_that_is_still_being_copied_is_served_when_it_is_complete(
    base: Path, server: LocalServer
) -> None:
    complete = put_numbered_model(base.parent / "elsewhere", 2)
    (base / "2").mkdir()
    shutil.copy(complete / "saved_model.pb", base / "2")
    wait_until(lambda: states(server) == {2: END, 1: AVAILABLE})
    shutil.copytree(complete, base / "2", dirs_exist_ok=True)
    wait_until(lambda: states(server) == {2: AVAILABLE, 1: END})
