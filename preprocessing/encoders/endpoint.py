"""Vectors from an OpenAI-compatible embeddings endpoint (`/v1/embeddings`).

https://platform.openai.com/docs/api-reference/embeddings; vLLM, llama.cpp, TEI and Ollama speak it
too.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from typing_extensions import override

from configs.command_line import CommandError
from configs.knowledge import Encoder
from configs.openai_connection import (
    ApiKey,
    EndpointUnusable,
    OpenAIConnection,
    RequestRefused,
    Retrying,
    TransientFailure,
    require_address,
)
from preprocessing.encoders.text_encoder import EncodedTexts, TextEncoder

_TIMEOUT_SECONDS = 120.0
_RETRIES = 6
_FIRST_DELAY_SECONDS = 1.0
_MOST_BYTES_PER_VECTOR = 512 << 10
_MOST_BYTES_BESIDE_VECTORS = 1 << 20
_SECTION = "knowledge.encoder"


@dataclass(frozen=True)
class EmbeddingsResponse:
    """What one call returned.

    Attributes:
      vectors: [texts, dimension] float32, in the order of the texts.
      tokens: as the endpoint counted them; 0 if it did not.
    """

    vectors: np.ndarray
    tokens: int


class EndpointEncoder(TextEncoder):
    """Asks an endpoint for `batch_size` texts at a time.

    A batch that the endpoint refuses is asked for text by text, so that one bad text costs only
    itself.

    Args:
      settings: configuration of the encoder.
      api_key: the key; None for endpoints that want none.
      retries: calls after a transient failure.
      first_delay_seconds: upper bound of the delay before the first of them.
    """

    def __init__(
        self,
        settings: Encoder,
        api_key: ApiKey | None,
        retries: int = _RETRIES,
        first_delay_seconds: float = _FIRST_DELAY_SECONDS,
    ):
        self._settings = settings
        most_bytes = _MOST_BYTES_BESIDE_VECTORS + settings.batch_size * _MOST_BYTES_PER_VECTOR
        self._connection = OpenAIConnection(
            settings.base_url, api_key, _TIMEOUT_SECONDS, most_bytes
        )
        self._retrying = Retrying(retries, first_delay_seconds, threading.Event())
        self._dimension: int | None = None

    @classmethod
    @override
    def identity(cls, settings: Encoder) -> dict[str, Any]:
        """Model and address.

        Raises:
          ConfigurationError: the address or the key is missing or wrong in form.
        """
        require_address(_SECTION, settings.base_url, settings.api_key_variable)
        return {"kind": "endpoint", "model": settings.model, "base_url": settings.base_url}

    @classmethod
    @override
    def texts_per_element(cls, settings: Encoder) -> int:
        """Texts of one call, so that a killed run has lost at most one it paid for."""
        return settings.batch_size

    @classmethod
    @override
    def load(cls, settings: Encoder, folder: str) -> Self:
        """Makes the encoder; the key is read from the worker's own environment."""
        del folder
        return cls(settings, ApiKey.from_environment(_SECTION, settings.api_key_variable))

    @override
    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """One vector per text, by calls to the endpoint.

        Raises:
          CommandError: the endpoint is down, refuses every call, or changes the width of vectors.
        """
        vectors: dict[int, np.ndarray] = {}
        refused: dict[int, str] = {}
        tokens = 0
        pending = [
            list(range(start, min(start + self._settings.batch_size, len(texts))))
            for start in range(0, len(texts), self._settings.batch_size)
        ]
        while pending:
            rows = pending.pop()
            try:
                response = self._call([texts[row] for row in rows])
            except RequestRefused as failure:
                if len(rows) == 1:
                    refused[rows[0]] = failure.detail
                else:
                    pending += [[row] for row in rows]
                continue
            tokens += response.tokens
            vectors |= zip(rows, response.vectors, strict=True)
        matrix = np.full((len(texts), self._dimension or 0), np.nan, np.float32)
        for row, vector in vectors.items():
            matrix[row] = vector
        return EncodedTexts(matrix, refused, tokens)

    def _call(self, texts: list[str]) -> EmbeddingsResponse:
        try:
            response, _ = self._retrying.call(lambda: self._call_once(texts))
        except (EndpointUnusable, TransientFailure) as failure:
            raise CommandError(
                f"{_SECTION}: the embeddings endpoint gives no vectors: {failure.detail}. What was "
                "encoded is kept; repair that and run the same command again"
            ) from None
        width = response.vectors.shape[1]
        if self._dimension not in (None, width):
            raise CommandError(
                f"{_SECTION}: the model '{self._settings.model}' made a vector of width {width} "
                f"after others of width {self._dimension}"
            )
        self._dimension = width
        return response

    def _call_once(self, texts: list[str]) -> EmbeddingsResponse:
        return self._connection.call(
            lambda client: client.embeddings.with_raw_response.create(
                model=str(self._settings.model), input=texts, encoding_format="float"
            ),
            lambda response: read_response(response, len(texts)),
        )


ENCODER = EndpointEncoder


def read_response(response: object, texts: int) -> EmbeddingsResponse:
    """Reads the object that the endpoint returns.

    Args:
      response: the parsed JSON.
      texts: number of texts that were sent.

    Raises:
      ValueError: it is not one vector per text, all of the same width.
    """
    data = response.get("data") if isinstance(response, Mapping) else None
    if not isinstance(data, list):
        raise ValueError("no embeddings object: there is no list 'data'")
    if len(data) != texts:
        raise ValueError(f"{len(data)} vectors for {texts} texts")
    vectors: dict[int, np.ndarray] = {}
    for entry in data:
        index, numbers = (
            (entry.get("index"), entry.get("embedding")) if isinstance(entry, Mapping) else (0, 0)
        )
        if not isinstance(index, int) or not isinstance(numbers, list) or not numbers:
            raise ValueError("an entry of 'data' has no 'index' or no list 'embedding'")
        try:
            with np.errstate(over="ignore"):
                vectors[index] = np.array(numbers, np.float64).astype(np.float32)
        except (TypeError, OverflowError) as error:
            raise ValueError("'embedding' is not a list of numbers") from error
    if vectors.keys() != set(range(texts)):
        raise ValueError(f"the values of 'index' are not 0 to {texts - 1}")
    widths = sorted({vector.shape for vector in vectors.values()})
    if len(widths) > 1 or len(widths[0]) != 1:
        raise ValueError(f"vectors of different widths: {widths}")
    usage = response.get("usage") if isinstance(response, Mapping) else None
    counted = usage.get("total_tokens") if isinstance(usage, Mapping) else None
    tokens = counted if type(counted) is int and counted >= 0 else 0
    return EmbeddingsResponse(np.stack([vectors[index] for index in range(texts)]), tokens)
