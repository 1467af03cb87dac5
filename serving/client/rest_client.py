"""The REST client, for where only HTTP passes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import numpy as np
import requests
import urllib3

from serving.client.connection import Tls
from serving.client.errors import ModelAddress, RankingError, ServerUnavailable
from serving.client.inputs import InputKind
from serving.client.ranking import RankingClientBase
from serving.client.requests import SignatureCall
from serving.client.responses import (
    ITEM_ID,
    Arrays,
    Reply,
    highest_available,
    no_signature,
    unusable_response,
)
from serving.client.retries import RetryPolicy

_HEADERS = {"content-type": "application/json"}
_KINDS = {"DT_STRING": InputKind.STRINGS, "DT_INT64": InputKind.INTEGERS}
# As google/rpc/code.proto maps them, and 413 of a request that is too large.
_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    504: "DEADLINE_EXCEEDED",
}
_CHUNK_BYTES = 2**16


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

    def close(self) -> None:
        """Closes the connections."""
        self._session.close()

    def _input_kinds(self, signature_name: str, until: float) -> Mapping[str, InputKind]:
        answer = self._call("GET", f"{self._model_url}/metadata", None, until)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]  # type: ignore[index]
            if signature_name not in signatures:
                raise no_signature(signature_name)
            return {
                name: _KINDS.get(tensor["dtype"], InputKind.NUMBERS)
                for name, tensor in signatures[signature_name]["inputs"].items()
            }
        except (AttributeError, KeyError, TypeError) as error:
            raise unusable_response("it is not a model's metadata") from error

    def _url_of_model(self) -> str:
        url = f"{self.address.target}/v1/models/{quote(self.address.model_name, safe='')}"
        if self.address.model_version is not None:
            return f"{url}/versions/{self.address.model_version}"
        if self.address.version_label is not None:
            return f"{url}/labels/{quote(self.address.version_label, safe='')}"
        return url

    def _predict(self, call: SignatureCall[Any], inputs: Arrays, until: float) -> Reply:
        body = {
            "signature_name": call.signature_name,
            "inputs": {name: array.tolist() for name, array in inputs.items()},
        }
        answer = self._call("POST", f"{self._model_url}:predict", body, until).get("outputs")
        # A signature of one output answers with its values, without its name.
        named_outputs = answer if isinstance(answer, dict) else {call.outputs[0]: answer}
        names = dict.fromkeys([*call.outputs, *(named_outputs if call.all_outputs else ())])
        outputs = {name: array_of(name, named_outputs.get(name)) for name in names}
        return Reply(outputs, self.address.model_version)

    def _available_version(self, seconds_left: float) -> int:
        if self.address.version_label is not None:
            return self._labelled_version(seconds_left)
        answer = self._once("GET", self._model_url, None, seconds_left)
        try:
            versions = [
                int(status["version"])
                for status in answer["model_version_status"]  # type: ignore[attr-defined]
                if status["state"] == "AVAILABLE"
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise unusable_response("it is not a model status") from error
        return highest_available(versions, self.address)

    def _labelled_version(self, seconds_left: float) -> int:
        """TensorFlow Serving's status does not look at a label; its metadata do."""
        answer = self._once("GET", f"{self._model_url}/metadata", None, seconds_left)
        try:
            return int(answer["model_spec"]["version"])  # type: ignore[index]
        except (KeyError, TypeError, ValueError) as error:
            raise unusable_response("it does not tell the version") from error

    def _call(
        self, method: str, url: str, body: Mapping[str, object] | None, until: float
    ) -> dict[str, object]:
        # Numbers that are not known are NaN, which TensorFlow Serving reads in JSON.
        content = None if body is None else json.dumps(body).encode()
        return self.retry_policy.call(
            lambda seconds_left: self._once(method, url, content, seconds_left), until
        )

    def _once(
        self, method: str, url: str, content: bytes | None, seconds_left: float
    ) -> dict[str, object]:
        target = self.address.target
        until = time.monotonic() + seconds_left
        try:
            with self._session.request(
                method,
                url,
                data=content,
                headers=_HEADERS,
                timeout=urllib3.Timeout(total=seconds_left),  # type: ignore[arg-type]
                verify=self._tls.verification(),
                cert=self._tls.client_files(),
                stream=True,
            ) as response:
                return document_of(response.status_code, body_of(response, until), target)
        except (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError) as error:
            seconds = self.retry_policy.timeout_seconds
            raise RankingError(
                "DEADLINE_EXCEEDED", f"{target} did not answer within {seconds:g} s"
            ) from error
        except requests.exceptions.SSLError as error:
            raise ServerUnavailable(f"{target} has no trusted certificate ({error})") from error
        except requests.ConnectionError as error:
            raise ServerUnavailable(f"no server answers at {target}") from error
        except urllib3.exceptions.HTTPError as error:
            raise ServerUnavailable(f"{target} broke off its answer ({error})") from error
        except OSError as error:
            raise RankingError("INVALID_ARGUMENT", f"{target}: {error}") from error


def body_of(response: requests.Response, until: float) -> bytes:
    """All of an answer.

    Raises:
      TimeoutError: it is not complete at the deadline. Each wait for more has a deadline of its
        own, which an answer that comes in small pieces never reaches.
    """
    body = bytearray()
    while piece := response.raw.read1(_CHUNK_BYTES, decode_content=True):
        body += piece
        if time.monotonic() > until:
            raise TimeoutError("the answer is not complete")
    return bytes(body)


def document_of(status: int, body: bytes, target: str) -> dict[str, object]:
    """The JSON object that an answer is.

    Args:
      status: of HTTP.
      body: the answer.
      target: who answered, for messages.

    Raises:
      ServerUnavailable: the server takes no requests now.
      RankingError: the server refused the request, or the answer is no JSON object.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    reason = document.get("error") if isinstance(document, dict) else None
    if status == 503:
        raise ServerUnavailable(f"{target} takes no requests now ({reason or 'HTTP 503'})")
    if status != 200:
        explanation = reason or f"HTTP status {status}"
        raise RankingError(
            _CODES.get(status, "UNKNOWN"), f"{target} refused the request: {explanation}"
        )
    if not isinstance(document, dict):
        raise unusable_response("it is not a JSON object")
    return document


def array_of(name: str, values: object) -> np.ndarray:
    """An output's nested lists of decimal numbers or of strings as an array.

    Args:
      name: the output's; ids may be whole numbers.
      values: as JSON has them.

    Raises:
      RankingError: INTERNAL; the values are of other types, or no array.
    """
    try:
        array = np.asarray(values, dtype=object)
    except ValueError as error:
        raise unusable_response(f"output '{name}' is uneven") from error
    kinds = {type(value) for value in array.flat}
    if isinstance(values, list) and not kinds and name == ITEM_ID:
        return array
    if isinstance(values, list) and kinds <= {float}:
        return array.astype(np.float32)
    if isinstance(values, list) and kinds == {int} and name == ITEM_ID:
        return array.astype(np.int64)
    if isinstance(values, list) and kinds == {str}:
        return array
    raise unusable_response(f"output '{name}' is not a list of decimal numbers or of strings")
