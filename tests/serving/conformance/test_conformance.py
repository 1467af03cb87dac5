"""Clients that nobody here wrote get from the local server what was computed by hand or in NumPy.

The clients run in environments of their own; `make test` makes them from
requirements-conformance.txt.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from serving.options import ServerOptions
from serving.server import LocalServer
from tests.serving.guide_models import GuideModel, guide_base_paths
from tests.serving.toy_ranker import toy_base_path, toy_row_scores, toy_rows

SECONDS = 600


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    only_ids = tmp_path_factory.mktemp("only_ids")
    model = GuideModel()
    tf.saved_model.save(model, str(only_ids / "1"), signatures=model.ids)
    models = {**guide_base_paths(), "toy": toy_base_path(), "only_ids": only_ids}
    with LocalServer(models, options=ServerOptions(poll_seconds=0)) as server:
        yield server


def ask(repository_root: Path, client: str, *arguments: str) -> dict[str, Any]:
    """Runs a script of this folder in a client's environment."""
    python = repository_root / ".venv-conformance" / client / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment for {client} at {python.parent.parent}; `make test` makes it")
    script = Path(__file__).parent / f"ask_with_{client.replace('-', '_')}.py"
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = subprocess.run(
        [python, script, *arguments],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=environment,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.fixture(scope="module")
def by_tensorflow_protobuf(repository_root: Path, server: LocalServer) -> dict[str, Any]:
    return ask(repository_root, "tensorflow-protobuf", f"127.0.0.1:{server.grpc_port}")


@pytest.fixture(scope="module")
def by_min_tfs_client(repository_root: Path, server: LocalServer) -> dict[str, Any]:
    rows = json.dumps(toy_rows())
    return ask(repository_root, "min-tfs-client", "127.0.0.1", str(server.grpc_port), rows)


def test_predict(by_tensorflow_protobuf: dict[str, Any]) -> None:
    expected = {
        "model": "half_plus_two",
        "version": 123,
        "signature_name": "serving_default",
        "outputs": ["y"],
        "dtype": "DT_FLOAT",
        "shape": [3],
        "values": [2.5, 3.0, 4.5],
        "content": 0,
    }
    for name in ("latest", "by_version", "filtered"):
        assert by_tensorflow_protobuf[name] == expected


def test_integers_and_strings(by_tensorflow_protobuf: dict[str, Any]) -> None:
    ids = {"user_id": [2**53 + 1, -(2**63)], "item_id": [2**63 - 1, 0]}
    assert by_tensorflow_protobuf["ids"] == ids
    assert by_tensorflow_protobuf["ids_as_content"] == ids
    for name in ("texts", "texts_as_content"):
        texts = [text.encode("latin-1") for text in by_tensorflow_protobuf[name]]
        assert texts == [b"", "über".encode(), b"\xff\x00"]


def test_classify_regress_and_multi_inference(by_tensorflow_protobuf: dict[str, Any]) -> None:
    assert by_tensorflow_protobuf["inference"] == {
        "classes": [[["", 2.5]], [["", 3.0]]],
        "values": [3.5, 4.0],
        "is_same": True,
        "signature_names": ["regress_x_to_y2", "classify_x_to_y"],
        "versions": [123, 123],
    }


def test_metadata(by_tensorflow_protobuf: dict[str, Any]) -> None:
    assert by_tensorflow_protobuf["metadata"] == {
        "type_url": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
        "is_unpacked": True,
        "version": 123,
        "signatures": [
            "classify_x2_to_y3",
            "classify_x_to_y",
            "regress_x2_to_y3",
            "regress_x_to_y",
            "regress_x_to_y2",
            "serving_default",
            "tensorflow/serving/regress",
        ],
        "x": ["x:0", tf.float32.as_datatype_enum, [-1, 1]],
    }


def test_refusals(by_tensorflow_protobuf: dict[str, Any]) -> None:
    """TensorFlow Serving's codes and words: docs/serving_protocol.md names the sources."""
    assert by_tensorflow_protobuf["refusals"] == {
        "model": ["NOT_FOUND", "Servable not found for request: Latest(other)"],
        "version": ["NOT_FOUND", "Servable not found for request: Specific(half_plus_two, 9)"],
        "signature": ["FAILED_PRECONDITION", 'Serving signature key "guess" not found.'],
        "missing": [
            "INVALID_ARGUMENT",
            "input size does not match signature: 0!=1 len({}) != len({x}). "
            "Sent extra: {}. Missing but required: {x}.",
        ],
        "extra": [
            "INVALID_ARGUMENT",
            "input size does not match signature: 2!=1 len({x,z}) != len({x}). "
            "Sent extra: {z}. Missing but required: {}.",
        ],
        "type": ["INVALID_ARGUMENT", "Expects arg[0] to be float but string is provided"],
        "output": [
            "INVALID_ARGUMENT",
            "output tensor alias not found in signature: z Outputs expected to be in the set {y}.",
        ],
        "duplicate": ["INVALID_ARGUMENT", "duplicate output tensor alias: y"],
        "nothing": ["INVALID_ARGUMENT", "Missing ModelSpec"],
    }


def test_a_ranker(by_min_tfs_client: dict[str, Any]) -> None:
    for name in ("rows", "by_version"):
        assert by_min_tfs_client[name].keys() == {"score"}
        np.testing.assert_allclose(by_min_tfs_client[name]["score"], toy_row_scores(), rtol=1e-6)
    assert by_min_tfs_client["integers"] == {"user_id": [2**53 + 1], "item_id": [-(2**63)]}


def test_refusals_of_the_other_client(by_min_tfs_client: dict[str, Any]) -> None:
    assert by_min_tfs_client["wrong_type"] == [
        "INVALID_ARGUMENT",
        "Expects arg[0] to be float but double is provided",
    ]
    assert by_min_tfs_client["other_version"] == [
        "NOT_FOUND",
        "Servable not found for request: Specific(half_plus_two, 4)",
    ]


def test_model_service(by_min_tfs_client: dict[str, Any]) -> None:
    available = [[3, "AVAILABLE", 0, ""]]
    assert by_min_tfs_client["status"] == available
    assert by_min_tfs_client["status_of_version"] == available
    assert by_min_tfs_client["status_of_other"] == [
        "NOT_FOUND",
        "Could not find version 4 of model toy",
    ]
    assert by_min_tfs_client["reload_of_nothing"] == "INVALID_ARGUMENT"
