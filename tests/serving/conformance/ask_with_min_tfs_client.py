"""Asks a server with min-tfs-client, and prints the answers as JSON.

Runs in .venv-conformance/min-tfs-client, so it imports nothing of this repository. The client's
methods for classification and regression fill a field that their requests do not have, so those
are left out; its stub of ModelService is used as it is.

Arguments: host and gRPC port, and a JSON object of rows for the toy ranker.
"""

from __future__ import annotations

import json
import sys

import grpc
import numpy as np
from min_tfs_client.requests import TensorServingClient
from min_tfs_client.tensors import tensor_proto_to_ndarray
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
)

SECONDS = 120


def arrays_of(rows: dict[str, list]) -> dict[str, np.ndarray]:
    return {
        name: np.array(values, dtype=np.str_ if name.endswith("_id") else np.float32)
        for name, values in rows.items()
    }


def outputs_of(response) -> dict[str, list]:
    return {
        name: tensor_proto_to_ndarray(tensor).tolist() for name, tensor in response.outputs.items()
    }


def status(channel: grpc.Channel, **version: object) -> list:
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest(model_spec={"name": "toy", **version})
    return [
        [
            one.version,
            get_model_status_pb2.ModelVersionStatus.State.Name(one.state),
            one.status.error_code,
            one.status.error_message,
        ]
        for one in stub.GetModelStatus(request, SECONDS).model_version_status
    ]


def refusal(call) -> list[str]:
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return ["OK", ""]


def main() -> None:
    host, port, rows = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    client = TensorServingClient(host, port)
    integers = {"user_id": np.array([2**53 + 1]), "item_id": np.array([-(2**63)])}
    wrong = {"x": np.array([1.0])}
    no_configuration = model_management_pb2.ReloadConfigRequest()
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        answers = {
            "rows": outputs_of(client.predict_request("toy", arrays_of(rows))),
            "by_version": outputs_of(
                client.predict_request("toy", arrays_of(rows), model_version=3)
            ),
            "integers": outputs_of(client.predict_request("only_ids", integers)),
            "wrong_type": refusal(lambda: client.predict_request("half_plus_two", wrong)),
            "other_version": refusal(
                lambda: client.predict_request("half_plus_two", wrong, model_version=4)
            ),
            "status": status(channel),
            "status_of_version": status(channel, version={"value": 3}),
            "status_of_other": refusal(lambda: status(channel, version={"value": 4})),
            "reload_of_nothing": refusal(
                lambda: models.HandleReloadConfigRequest(no_configuration, SECONDS)
            )[0],
        }
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
