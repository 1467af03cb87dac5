"""The REST client, for where only HTTP passes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import numpy as np
import requests

from serving.client.errors import RankingError, ServerUnavailable
from serving.client.ranking import Arrays, RankingClientBase, unusable_answer
from serving.client.retries import RetryPolicy

_HEADERS = {"content-type": "application/json"}
_CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED"}


class RestRankingClient(RankingClientBase):
    """Ranks over TensorFlow Serving's REST API; connections are kept open and reused.

    Attributes:
      target: the server's address, for example `http://127.0.0.1:8501`.
      model_name: the model's name there.
      model_version: the version to ask for; the latest if None.
      retry_policy: deadline and retries of each call.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        timeout_seconds: float = 2.0,
        maximum_attempts: int = 5,
        model_version: int | None = None,
    ):
        super().__init__()
        self.target = target.rstrip("/")
        self.model_name = model_name
        self.model_version = model_version
        self.retry_policy = RetryPolicy(timeout_seconds, maximum_attempts)
        self._session = requests.Session()
        version = "" if model_version is None else f"/versions/{model_version}"
        self._model_url = f"{self.target}/v1/models/{quote(model_name, safe='')}{version}"

    def served_version(self) -> int:
        """The model's version that is available on the server; the highest of several."""
        answer = self._call("GET", self._model_url, None)
        try:
            versions = [
                int(status["version"])
                for status in answer["model_version_status"]  # type: ignore[attr-defined]
                if status["state"] == "AVAILABLE"
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise unusable_answer("it is not a model status") from error
        if not versions:
            raise RankingError("NOT_FOUND", f"model '{self.model_name}' has no available version")
        return max(versions)

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _predict(
        self, signature_name: str, inputs: Arrays, outputs: Sequence[str], others: bool = False
    ) -> Arrays:
        body = {
            "signature_name": signature_name,
            "inputs": {name: array.tolist() for name, array in inputs.items()},
        }
        answer = self._call("POST", f"{self._model_url}:predict", body).get("outputs")
        # A signature of one output answers with its values, without its name.
        found = answer if isinstance(answer, dict) else {outputs[0]: answer}
        names = dict.fromkeys([*outputs, *(found if others else ())])
        return {name: _array(name, found.get(name)) for name in names}

    def _string_inputs(self, signature_name: str) -> Mapping[str, bool]:
        answer = self._call("GET", f"{self._model_url}/metadata", None)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]  # type: ignore[index]
            inputs = signatures[signature_name]["inputs"]
            return {name: tensor["dtype"] == "DT_STRING" for name, tensor in inputs.items()}
        except (AttributeError, KeyError, TypeError) as error:
            raise unusable_answer("it is not a model's metadata") from error

    def _call(self, method: str, url: str, body: Mapping[str, object] | None) -> dict[str, object]:
        # Numbers that are not known are NaN, which TensorFlow Serving reads in JSON.
        content = None if body is None else json.dumps(body).encode()

        def attempt(seconds_left: float) -> dict[str, object]:
            try:
                response = self._session.request(
                    method, url, data=content, headers=_HEADERS, timeout=seconds_left
                )
            except requests.Timeout as error:
                seconds = self.retry_policy.timeout_seconds
                raise RankingError(
                    "DEADLINE_EXCEEDED", f"{self.target} did not answer within {seconds:g} s"
                ) from error
            except requests.ConnectionError as error:
                raise ServerUnavailable(f"no server answers at {self.target}") from error
            except requests.RequestException as error:
                raise RankingError("INVALID_ARGUMENT", f"{self.target}: {error}") from error
            return self._document_of(response)

        return self.retry_policy.call(attempt)

    def _document_of(self, response: requests.Response) -> dict[str, object]:
        try:
            document = response.json()
        except requests.JSONDecodeError:
            document = None
        reason = document.get("error") if isinstance(document, dict) else None
        if response.status_code == 503:
            raise ServerUnavailable(f"{self.target} takes no requests now ({reason or 'HTTP 503'})")
        if response.status_code != 200:
            code = _CODES.get(response.status_code, "UNKNOWN")
            explanation = reason or f"HTTP status {response.status_code}"
            raise RankingError(code, f"{self.target} refused the request: {explanation}")
        if not isinstance(document, dict):
            raise unusable_answer("it is not a JSON object")
        return document


def _array(name: str, values: object) -> np.ndarray:
    """Nested lists of decimal numbers or of strings as an array."""
    try:
        array = np.asarray(values, dtype=object)
    except ValueError as error:
        raise unusable_answer(f"output '{name}' is uneven") from error
    kinds = {type(value) for value in array.flat}
    if isinstance(values, list) and kinds <= {float}:
        return array.astype(np.float32)
    if isinstance(values, list) and kinds == {str}:
        return array
    raise unusable_answer(f"output '{name}' is not a list of decimal numbers or of strings")
