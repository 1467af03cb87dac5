"""Memory that the local server holds while it answers and refuses very many requests.

    python -m benchmarks.serving_memory --base out/demo/export --requests 100000

Callers send one request after the other, over gRPC and REST, of every kind in turn by lot: sound
ones of several sizes, and ones that name nothing there is, have wrong types and shapes, stand for
too much, are broken, break off or are given up. Names are new ones every time. A JSON line tells
after every `--every` requests what the server's process holds (resident memory), and how often it
answered and refused; a request that gets another answer than its kind's ends the program. The last
line has the growth since the first of these lines, until which the server warms up.
"""

from __future__ import annotations

import argparse
import gzip
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import numpy as np
import requests

from benchmarks.measuring import print_measure
from benchmarks.serving_workload import ServerProcess, serving
from serving.client import RankingClient
from serving.client.errors import ModelAddress
from serving.client.grpc_client import predict_request
from serving.client.inputs import ModelInputs
from serving.loadtest.requests import SIGNATURES, signature_calls, synthetic_requests
from serving.protocol.messages import predict_pb2, prediction_service_pb2_grpc
from serving.protocol.tensors import pack

_NAME = "serving_memory"
_MODEL = "model"
_SECONDS = 60.0
_SIZES = (1, 7, 30, 100)
_USERS_PER_SIZE = 16
_CONNECTION_REQUESTS = 500
_ANSWERED = ("OK", "200")


@dataclass(frozen=True)
class _Sound:
    """A request that is answered.

    Attributes:
      message: for gRPC.
      body: for REST.
    """

    message: predict_pb2.PredictRequest
    body: bytes


def _sound_requests(server: ServerProcess, seed: int) -> list[_Sound]:
    """Requests of both signatures, of several users and numbers of candidates."""
    address = ModelAddress(server.target, _MODEL)
    source = synthetic_requests(1_000_000, 100_000, _USERS_PER_SIZE, seed)
    requests = []
    with RankingClient(server.target, _MODEL, timeout_seconds=_SECONDS) as client:
        client.wait_until_ready()
        for signature in SIGNATURES:
            model_inputs = ModelInputs.of_kinds(client.input_kinds(signature))
            for size in _SIZES:
                for call in signature_calls(source, signature, size, seed):
                    inputs = call.inputs(model_inputs)
                    columns = {name: array.tolist() for name, array in inputs.items()}
                    body = {"signature_name": signature, "inputs": columns}
                    message = predict_request(address, call, inputs)
                    requests.append(_Sound(message, json.dumps(body).encode()))
    return requests


class _Caller:
    """Sends requests one after the other, over connections that are made anew now and then.

    Args:
      server: whom.
      sound: what all requests are made from.
      seed: of kinds, requests and names.
    """

    def __init__(self, server: ServerProcess, sound: Sequence[_Sound], seed: Sequence[int]):
        self._server = server
        self._sound = sound
        self._random = np.random.default_rng(seed)

    def send(self, count: int) -> Counter[str]:
        """Sends requests.

        Args:
          count: how many.

        Returns:
          gRPC code or HTTP status -> how often it came.

        Raises:
          RuntimeError: a request got another one than it should.
        """
        outcomes: Counter[str] = Counter()
        for start in range(0, count, _CONNECTION_REQUESTS):
            options = [("grpc.use_local_subchannel_pool", 1)]
            with (
                grpc.insecure_channel(self._server.target, options) as self._channel,
                requests.Session() as self._session,
            ):
                for _ in range(min(_CONNECTION_REQUESTS, count - start)):
                    outcomes[self._send_one()] += 1
        return outcomes

    def _send_one(self) -> str:
        kind = _KINDS[int(self._random.integers(len(_KINDS)))]
        outcome = kind.send(self, self._sound[int(self._random.integers(len(self._sound)))])
        if outcome not in kind.outcomes:
            raise RuntimeError(f"{kind.send.__name__}: {outcome} in the place of {kind.outcomes}")
        return outcome

    def _new_name(self) -> str:
        return f"name_{self._random.integers(2**62)}"

    def _grpc(self, message: predict_pb2.PredictRequest) -> str:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        try:
            predict(message, timeout=_SECONDS)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"

    def _rest(self, path: str, body: bytes | None = None, encoding: str | None = None) -> str:
        method = "GET" if body is None else "POST"
        url = f"{self._server.rest_url}/v1/models/{path}"
        headers = {} if encoding is None else {"Content-Encoding": encoding}
        answer = self._session.request(method, url, data=body, headers=headers, timeout=_SECONDS)
        return str(answer.status_code)

    def grpc_sound(self, sound: _Sound) -> str:
        return self._grpc(sound.message)

    def grpc_unknown_model(self, sound: _Sound) -> str:
        message = _copy(sound.message)
        message.model_spec.name = self._new_name()
        return self._grpc(message)

    def grpc_unknown_signature(self, sound: _Sound) -> str:
        message = _copy(sound.message)
        message.model_spec.signature_name = self._new_name()
        return self._grpc(message)

    def grpc_unknown_input(self, sound: _Sound) -> str:
        message = _copy(sound.message)
        message.inputs[self._new_name()].CopyFrom(message.inputs["item_id"])
        return self._grpc(message)

    def grpc_wrong_type(self, sound: _Sound) -> str:
        message = _copy(sound.message)
        message.inputs["item_id"].CopyFrom(pack(np.ones(3, np.float32)))
        return self._grpc(message)

    def grpc_wrong_shape(self, sound: _Sound) -> str:
        message = _copy(sound.message)
        message.inputs["history_rating"].CopyFrom(pack(np.ones((1, 999), np.float32)))
        return self._grpc(message)

    def grpc_too_large(self, sound: _Sound) -> str:
        message = _copy(sound.message)
        message.inputs["item_id"].tensor_shape.dim[0].size = 2**40
        return self._grpc(message)

    def grpc_given_up(self, sound: _Sound) -> str:
        predict = prediction_service_pb2_grpc.PredictionServiceStub(self._channel).Predict
        answer = predict.future(sound.message, timeout=_SECONDS)
        answer.cancel()
        return answer.code().name

    def rest_sound(self, sound: _Sound) -> str:
        return self._rest(f"{_MODEL}:predict", sound.body)

    def rest_compressed(self, sound: _Sound) -> str:
        body = gzip.compress(sound.body, 1)
        return self._rest(f"{_MODEL}:predict", body, "gzip")

    def rest_status(self, _: _Sound) -> str:
        return self._rest(_MODEL)

    def rest_metadata(self, _: _Sound) -> str:
        return self._rest(f"{_MODEL}/metadata")

    def rest_unknown_model(self, sound: _Sound) -> str:
        return self._rest(f"{self._new_name()}:predict", sound.body)

    def rest_unknown_address(self, sound: _Sound) -> str:
        return self._rest(f"{_MODEL}/{self._new_name()}", sound.body)

    def rest_unknown_signature(self, _: _Sound) -> str:
        body = {"signature_name": self._new_name(), "inputs": [1.0]}
        return self._rest(f"{_MODEL}:predict", json.dumps(body).encode())

    def rest_broken(self, sound: _Sound) -> str:
        return self._rest(f"{_MODEL}:predict", sound.body[: len(sound.body) // 2])

    def rest_broken_gzip(self, sound: _Sound) -> str:
        body = gzip.compress(sound.body, 1)[:-9]
        return self._rest(f"{_MODEL}:predict", body, "gzip")

    def rest_broken_off(self, sound: _Sound) -> str:
        """Closes the connection in the middle of a body."""
        address = urlsplit(self._server.rest_url)
        with socket.create_connection((address.hostname, address.port), _SECONDS) as connection:
            header = f"POST /v1/models/{_MODEL}:predict HTTP/1.1\r\nHost: a\r\n"
            length = f"Content-Length: {len(sound.body)}\r\n\r\n"
            connection.sendall((header + length).encode() + sound.body[: len(sound.body) // 2])
        return "broken off"


@dataclass(frozen=True)
class _Kind:
    send: Callable[[_Caller, _Sound], str]
    outcomes: tuple[str, ...]


_KINDS = (
    _Kind(_Caller.grpc_sound, ("OK",)),
    _Kind(_Caller.grpc_unknown_model, ("NOT_FOUND",)),
    _Kind(_Caller.grpc_unknown_signature, ("FAILED_PRECONDITION",)),
    _Kind(_Caller.grpc_unknown_input, ("INVALID_ARGUMENT",)),
    _Kind(_Caller.grpc_wrong_type, ("INVALID_ARGUMENT",)),
    _Kind(_Caller.grpc_wrong_shape, ("INVALID_ARGUMENT",)),
    _Kind(_Caller.grpc_too_large, ("INVALID_ARGUMENT", "RESOURCE_EXHAUSTED")),
    _Kind(_Caller.grpc_given_up, ("CANCELLED", "OK")),
    _Kind(_Caller.rest_sound, ("200",)),
    _Kind(_Caller.rest_compressed, ("200",)),
    _Kind(_Caller.rest_status, ("200",)),
    _Kind(_Caller.rest_metadata, ("200",)),
    _Kind(_Caller.rest_unknown_model, ("404",)),
    _Kind(_Caller.rest_unknown_address, ("400",)),
    _Kind(_Caller.rest_unknown_signature, ("400",)),
    _Kind(_Caller.rest_broken, ("400",)),
    _Kind(_Caller.rest_broken_gzip, ("400",)),
    _Kind(_Caller.rest_broken_off, ("broken off",)),
)


def measured_memory(
    base: Path, count: int, every: int, callers: int, seed: int
) -> Iterator[dict[str, int | float]]:
    """Serves a model and sends requests to it.

    Args:
      base: model base path of a ranking model.
      count: of all requests.
      every: how many are sent between two looks at the server's memory.
      callers: how many send at a time.
      seed: of the requests.

    Yields:
      After every so many requests how many there were by then, answered and other ones, and the
      server's memory in megabytes.
    """
    with serving({_MODEL: base}) as server, ThreadPoolExecutor(callers) as pool:
        sound = _sound_requests(server, seed)
        sending = [_Caller(server, sound, [seed, number]) for number in range(callers)]
        outcomes: Counter[str] = Counter()
        while outcomes.total() < count:
            shares = np.diff(np.linspace(0, every, callers + 1).astype(int)).tolist()
            for sent in pool.map(_Caller.send, sending, shares):
                outcomes += sent
            answered = sum(outcomes[code] for code in _ANSWERED)
            yield {
                "requests": outcomes.total(),
                "answered": answered,
                "refused": outcomes.total() - answered,
                "resident_megabytes": resident_megabytes(server.pid),
            }


def resident_megabytes(pid: int) -> float:
    """What a process holds in memory; Linux tells it in kilobytes."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(":")
        if name == "VmRSS":
            return int(value.split()[0]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")


def _copy(message: predict_pb2.PredictRequest) -> Any:
    copied = predict_pb2.PredictRequest()
    copied.CopyFrom(message)
    return copied


def main(words: list[str] | None = None) -> None:
    """Measures one model."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", type=Path, required=True, help="model base path")
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=10_000, help="requests between two looks")
    parser.add_argument("--callers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(words)
    looks = []
    for look in measured_memory(
        arguments.base, arguments.requests, arguments.every, arguments.callers, arguments.seed
    ):
        looks.append(look["resident_megabytes"])
        print_measure(_NAME, **look, seed=arguments.seed)
    print_measure(
        _NAME,
        grown_megabytes=looks[-1] - looks[0],
        requests=arguments.requests - arguments.every,
        seed=arguments.seed,
    )


if __name__ == "__main__":
    main()
