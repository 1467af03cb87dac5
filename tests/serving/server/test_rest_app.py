from __future__ import annotations

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import requests

from serving.options import ServerOptions
from serving.server import LocalServer
from serving.server.background import Background
from serving.server.model_settings import ModelSettings
from serving.server.model_store import ModelStore
from serving.server.prediction_api import PredictionApi
from serving.server.rest_app import RestApi
from serving.server.servable import Servable
from tests.serving.toy_ranker import (
    toy_arrays,
    toy_base_path,
    toy_examples,
    toy_row_scores,
    toy_rows,
)

SECONDS = 20


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with LocalServer({"toy": toy_base_path()}, options=ServerOptions(poll_seconds=0)) as server:
        yield f"http://127.0.0.1:{server.rest_port}"


def post(url: str, document: object) -> dict:
    response = requests.post(url, json=document, timeout=SECONDS)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


def rows_as_instances() -> list[dict]:
    columns = toy_rows()
    return [{name: values[row] for name, values in columns.items()} for row in range(3)]


def test_row_and_column_format_agree_with_numpy(address: str) -> None:
    url = f"{address}/v1/models/toy:predict"
    by_row = post(url, {"instances": rows_as_instances()})
    by_column = post(url, {"inputs": toy_rows(), "signature_name": "serving_default"})
    assert by_row.keys() == {"predictions"}
    assert by_column.keys() == {"outputs"}
    assert by_row["predictions"] == by_column["outputs"]
    np.testing.assert_allclose(by_row["predictions"], toy_row_scores(), rtol=1e-6)


def test_one_instance_gives_one_prediction(address: str) -> None:
    answer = post(f"{address}/v1/models/toy:predict", {"instances": rows_as_instances()[:1]})
    np.testing.assert_allclose(answer["predictions"], toy_row_scores()[:1], rtol=1e-6)


def test_rank_takes_the_column_format(address: str) -> None:
    inputs = {name: values[:1] for name, values in toy_rows().items()}
    inputs["item_id"] = ["a", "bb", "ccc"]
    answer = post(
        f"{address}/v1/models/toy/versions/3:predict", {"signature_name": "rank", "inputs": inputs}
    )
    assert len(answer["outputs"]) == 3
    np.testing.assert_allclose(answer["outputs"][0], toy_row_scores()[0], rtol=1e-6)


def test_base64_goes_in_and_out_and_several_outputs_are_named(address: str) -> None:
    encoded = {"b64": base64.b64encode(b"\xff\x00").decode()}
    url = f"{address}/v1/models/toy:predict"
    by_row = post(
        url,
        {"signature_name": "echo", "instances": [{"text_bytes": encoded, "numbers": [1, 2]}]},
    )
    assert by_row == {"predictions": [{"doubled": [2, 4], "text_bytes": encoded}]}
    by_column = post(
        url, {"signature_name": "echo", "inputs": {"text_bytes": [encoded], "numbers": [[1, 2]]}}
    )
    assert by_column == {"outputs": {"doubled": [[2, 4]], "text_bytes": [encoded]}}


def test_serialized_examples_score_like_tensors(address: str) -> None:
    instances = [
        {"b64": base64.b64encode(example.SerializeToString()).decode()}
        for example in toy_examples()
    ]
    answer = post(
        f"{address}/v1/models/toy:predict",
        {"signature_name": "predict_examples", "instances": instances},
    )
    np.testing.assert_allclose(answer["predictions"], toy_row_scores(), rtol=1e-6)


def test_classify_and_regress_with_a_common_context(address: str) -> None:
    examples = rows_as_instances()[:2]
    context = {"user_id": "u1"}
    for example in examples:
        del example["user_id"]
    document = {"context": context, "examples": examples}
    regressed = post(f"{address}/v1/models/toy:regress", {"signature_name": "regress", **document})
    classified = post(
        f"{address}/v1/models/toy:classify", {"signature_name": "classify_labelled", **document}
    )
    assert len(regressed["results"]) == 2
    np.testing.assert_allclose(regressed["results"][0], toy_row_scores()[0], rtol=1e-6)
    for (disliked, liked), score in zip(classified["results"], regressed["results"], strict=True):
        assert liked == ["liked", score]
        assert disliked[0] == "disliked"


def test_floats_are_exact(address: str) -> None:
    url = f"{address}/v1/models/toy:predict"
    numbers = post(url, {"inputs": toy_rows()})["outputs"]
    scores = Servable("toy", 3, toy_base_path() / "3").run("serving_default", toy_arrays())["score"]
    np.testing.assert_array_equal(np.float32(numbers), scores)


def test_gzip_goes_in(address: str) -> None:
    body = gzip.compress(json.dumps({"inputs": toy_rows()}).encode())
    response = requests.post(
        f"{address}/v1/models/toy:predict",
        data=body,
        headers={"Content-Encoding": "gzip"},
        timeout=SECONDS,
    )
    np.testing.assert_allclose(response.json()["outputs"], toy_row_scores(), rtol=1e-6)
    assert "content-encoding" not in response.headers


def test_requests_are_counted(address: str) -> None:
    def count(status: str) -> float:
        text = requests.get(f"{address}/monitoring/prometheus/metrics", timeout=SECONDS).text
        name = f':tensorflow:serving:request_count{{model_name="unknown model",status="{status}"}}'
        return float((re.search(rf"^{re.escape(name)} (\S+)$", text, re.M) or ["", 0])[1])

    before = count("NOT_FOUND")
    for model in ("other", "another"):
        url = f"{address}/v1/models/{model}:predict"
        requests.post(url, json={"instances": [1]}, timeout=SECONDS)
    assert count("NOT_FOUND") == before + 2
    assert count("OK") == 0


def test_a_caller_that_leaves_while_it_asks_is_no_error() -> None:
    sent = []

    async def receive() -> dict:
        return {"type": "http.disconnect"}

    async def send(message: dict) -> None:
        sent.append(message)

    store = ModelStore([ModelSettings("toy", toy_base_path())])
    application = RestApi(PredictionApi(store, Background()), 1000).application()
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/models/toy:predict",
        "raw_path": b"/v1/models/toy:predict",
        "query_string": b"",
        "headers": [],
    }
    asyncio.run(application(scope, receive, send))
    assert sent[0]["status"] == 499


def test_status_and_metadata(address: str) -> None:
    expected = {
        "model_version_status": [
            {
                "version": "3",
                "state": "AVAILABLE",
                "status": {"error_code": "OK", "error_message": ""},
            }
        ]
    }
    for path in ("/v1/models/toy", "/v1/models/toy/versions/3", "/V1/MODELS/toy"):
        assert requests.get(address + path, timeout=SECONDS).json() == expected
    metadata = requests.get(f"{address}/v1/models/toy/metadata", timeout=SECONDS).json()
    assert metadata["model_spec"] == {"name": "toy", "signature_name": "", "version": "3"}
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    history = signatures["rank"]["inputs"]["history_rating"]
    assert history["dtype"] == "DT_FLOAT"
    assert [dimension["size"] for dimension in history["tensor_shape"]["dim"]] == ["1", "-1"]


def test_concurrent_requests_get_their_own_answers(address: str) -> None:
    def doubled(number: int) -> list[list[int]]:
        inputs = {"text_bytes": [str(number)], "numbers": [[number, 0]]}
        url = f"{address}/v1/models/toy:predict"
        return post(url, {"signature_name": "echo", "inputs": inputs})["outputs"]["doubled"]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(doubled, range(60)))
    assert answers == [[[2 * number, 0]] for number in range(60)]
