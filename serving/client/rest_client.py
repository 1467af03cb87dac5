"""The REST client, for where only HTTP passes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import requests

from serving.client.address import ModelAddress
from serving.client.answers import ITEM_ID, Arrays, Reply, no_signature, unusable_answer
from serving.client.errors import RankingError, ServerUnavailable
from serving.client.model_inputs import InputKind
from serving.client.questions import Question
from serving.client.ranking import RankingClientBase
from serving.client.retries import RetryPolicy
from serving.client.tls import Tls

_HEADERS = {"content-type": "application/json"}
_KINDS = {"DT_STRING": InputKind.STRINGS, "DT_INT64": InputKind.INTEGERS}
_CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 413: "RESOURCE_EXHAUSTED"}


class RestRankingClient(RankingClientBase):
    """Ranks over TensorFlow Serving's REST API; connections are kept open and reused.

    Attributes:
      address: target, model and version that requests name.
      retry_policy: deadline and retries of each call.
    """

    def __init__(
        self,
        target: str,
        model_name: str,
        timeout_seconds: float = 2.0,
        maximum_attempts: int = 5,
        model_version: int | None = None,
        version_label: str | None = None,
        tls: Tls | None = None,
    ):
        """Makes the session, which connects when it is first used.

        Args:
          target: the server's address, for example `http://127.0.0.1:8501`.
          model_name: the model's name there.
          timeout_seconds: deadline of one call with all its attempts and waits.
          maximum_attempts: at least 1; only a server that takes no requests is tried again.
          model_version: the version to ask for.
          version_label: the label of the version to ask for, such as "stable".
          tls: certificates for `https`; the machine's own authorities if None.

        Raises:
          ValueError: both a version and a label are given.
        """
        super().__init__(
            RetryPolicy(timeout_seconds, maximum_attempts), server_skips_unknown_inputs=True
        )
        self.address = ModelAddress(target.rstrip("/"), model_name, model_version, version_label)
        self._session = requests.Session()
        self._tls = tls or Tls()
        self._model_url = self._url_of_model()

    def input_kinds(self, signature_name: str) -> Mapping[str, InputKind]:
        """The inputs of a signature, and the kind of their values."""
        answer = self._call("GET", f"{self._model_url}/metadata", None)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]  # type: ignore[index]
            if signature_name not in signatures:
                raise no_signature(signature_name)
            return {
                name: _KINDS.get(tensor["dtype"], InputKind.NUMBERS)
                for name, tensor in signatures[signature_name]["inputs"].items()
            }
        except (AttributeError, KeyError, TypeError) as error:
            raise unusable_answer("it is not a model's metadata") from error

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _url_of_model(self) -> str:
        url = f"{self.address.target}/v1/models/{quote(self.address.model_name, safe='')}"
        if self.address.model_version is not None:
            return f"{url}/versions/{self.address.model_version}"
        if self.address.version_label is not None:
            return f"{url}/labels/{quote(self.address.version_label, safe='')}"
        return url

    def _predict(self, question: Question[Any], inputs: Arrays) -> Reply:
        body = {
            "signature_name": question.signature_name,
            "inputs": {name: array.tolist() for name, array in inputs.items()},
        }
        answer = self._call("POST", f"{self._model_url}:predict", body).get("outputs")
        # A signature of one output answers with its values, without its name.
        found = answer if isinstance(answer, dict) else {question.outputs[0]: answer}
        names = dict.fromkeys([*question.outputs, *(found if question.all_outputs else ())])
        outputs = {name: _array(name, found.get(name)) for name in names}
        return Reply(outputs, self.address.model_version)

    def _available_version(self, seconds_left: float) -> int:
        answer = self._once("GET", self._model_url, None, seconds_left)
        try:
            versions = [
                int(status["version"])
                for status in answer["model_version_status"]  # type: ignore[attr-defined]
                if status["state"] == "AVAILABLE"
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise unusable_answer("it is not a model status") from error
        if not versions:
            name = self.address.model_name
            raise RankingError("NOT_FOUND", f"model '{name}' has no available version")
        return max(versions)

    def _call(self, method: str, url: str, body: Mapping[str, object] | None) -> dict[str, object]:
        # Numbers that are not known are NaN, which TensorFlow Serving reads in JSON.
        content = None if body is None else json.dumps(body).encode()
        return self.retry_policy.call(
            lambda seconds_left: self._once(method, url, content, seconds_left)
        )

    def _once(
        self, method: str, url: str, content: bytes | None, seconds_left: float
    ) -> dict[str, object]:
        target = self.address.target
        try:
            response = self._session.request(
                method,
                url,
                data=content,
                headers=_HEADERS,
                timeout=seconds_left,
                verify=self._tls.verification(),
                cert=self._tls.client_files(),
            )
        except requests.Timeout as error:
            seconds = self.retry_policy.timeout_seconds
            raise RankingError(
                "DEADLINE_EXCEEDED", f"{target} did not answer within {seconds:g} s"
            ) from error
        except requests.exceptions.SSLError as error:
            raise ServerUnavailable(f"{target} has no trusted certificate ({error})") from error
        except requests.ConnectionError as error:
            raise ServerUnavailable(f"no server answers at {target}") from error
        except OSError as error:
            raise RankingError("INVALID_ARGUMENT", f"{target}: {error}") from error
        return self._document_of(response)

    def _document_of(self, response: requests.Response) -> dict[str, object]:
        try:
            document = response.json()
        except requests.JSONDecodeError:
            document = None
        reason = document.get("error") if isinstance(document, dict) else None
        if response.status_code == 503:
            raise ServerUnavailable(
                f"{self.address.target} takes no requests now ({reason or 'HTTP 503'})"
            )
        if response.status_code != 200:
            code = _CODES.get(response.status_code, "UNKNOWN")
            explanation = reason or f"HTTP status {response.status_code}"
            raise RankingError(code, f"{self.address.target} refused the request: {explanation}")
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
    if isinstance(values, list) and kinds == {int} and name == ITEM_ID:
        return array.astype(np.int64)
    if isinstance(values, list) and kinds == {str}:
        return array
    raise unusable_answer(f"output '{name}' is not a list of decimal numbers or of strings")
