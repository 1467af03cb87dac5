"""Any text model of the sentence-transformers library, with a pooling of one's choice.

The library is an extra: `pip install -r requirements-encoders.txt`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, Self

import numpy as np
from typing_extensions import override

from configs.command_line import CommandError
from configs.knowledge import Encoder
from configs.loading import ConfigurationError
from preprocessing.encoders.text_encoder import EncodedTexts, TextEncoder, average_of_windows

_METHOD = 1  # to be raised when a change of this file changes vectors
_TEXTS_PER_ELEMENT = 512
_BATCHES_PER_ELEMENT = 32  # so that few rows of the batches stay empty
_LENGTH_STEP = 16


class SentenceTransformersEncoder(TextEncoder):
    """Pools the last hidden states of the model's transformer over real tokens, not normalised.

    Layers of the model after the transformer (its own pooling, a projection, a normalisation) are
    not used. Every call of the network has `batch_size` rows, filled up with meaningless ones, and
    its length is that of its texts rounded up to a multiple of 16. Texts that fill that length stay
    among themselves, because attention takes another path where nothing is masked. So how a text is
    computed follows from the text and the settings alone, never from its companions.

    Args:
      transformer: the library's module `Transformer`, with attributes `auto_model` and `tokenizer`.
      settings: configuration of the encoder.
    """

    def __init__(self, transformer: Any, settings: Encoder):
        self._network = transformer.auto_model
        self._tokenizer = transformer.tokenizer
        self._settings = settings
        longest = _longest_window(transformer)
        if settings.maximum_tokens > longest:
            raise ConfigurationError(
                f"knowledge.encoder.maximum_tokens: the model '{settings.model}' reads at most "
                f"{longest} tokens at once; set long_texts=chunk for longer texts. Received: "
                f"{settings.maximum_tokens}"
            )

    @classmethod
    @override
    def identity(cls, settings: Encoder) -> dict[str, Any]:
        """The model, its files and its settings.

        Raises:
          CommandError: the library is not installed, or the model cannot be loaded.
          ConfigurationError: more tokens are asked for than the model can read.
        """
        transformer = _load_transformer(settings)
        cls(transformer, settings)
        return {
            "kind": "sentence-transformers",
            "method": _METHOD,
            "weights_sha256": _weights_sha256(transformer.auto_model),
            "tokenizer_sha256": hashlib.sha256(
                transformer.tokenizer.backend_tokenizer.to_str().encode()
            ).hexdigest(),
            "pooling": settings.pooling,
            "maximum_tokens": settings.maximum_tokens,
            "long_texts": settings.long_texts,
            "batch_size": settings.batch_size,
            "torch": version("torch"),
            "transformers": version("transformers"),
        }

    @classmethod
    @override
    def texts_per_element(cls, settings: Encoder) -> int:
        return max(_TEXTS_PER_ELEMENT, _BATCHES_PER_ELEMENT * settings.batch_size)

    @classmethod
    @override
    def load(cls, settings: Encoder, folder: str) -> Self:
        del folder
        return cls(_load_transformer(settings), settings)

    @override
    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        if not texts:
            return EncodedTexts(np.zeros((0, self._network.config.hidden_size), np.float32))
        windows, owners = self._windows(texts)
        by_shape: dict[tuple[int, bool], list[int]] = {}
        for number, window in enumerate(windows):
            length = _rounded_up(len(window))
            by_shape.setdefault((length, len(window) == length), []).append(number)
        vectors = np.zeros((len(windows), self._network.config.hidden_size), np.float32)
        rows = self._settings.batch_size
        for (length, _), numbers in sorted(by_shape.items()):
            for start in range(0, len(numbers), rows):
                batch = numbers[start : start + rows]
                vectors[batch] = self._pooled([windows[number] for number in batch], length)
        return EncodedTexts(
            average_of_windows(vectors, list(map(len, windows)), owners, len(texts))
        )

    def _windows(self, texts: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids of each window, special tokens included, and the text it is from."""
        chunk = self._settings.long_texts == "chunk"
        encoded = self._tokenizer(
            list(texts),
            truncation=True,
            max_length=self._settings.maximum_tokens,
            return_overflowing_tokens=chunk,
        )
        owners = encoded["overflow_to_sample_mapping"] if chunk else range(len(texts))
        return encoded["input_ids"], list(owners)

    def _pooled(self, windows: list[list[int]], length: int) -> np.ndarray:
        """Vectors [windows, dimension] float32 of windows of `length` tokens, or all of fewer."""
        import torch

        rows = self._settings.batch_size
        filled = [*windows, *[windows[0]] * (rows - len(windows))]
        ids = np.full((rows, length), self._tokenizer.pad_token_id or 0, np.int64)
        mask = np.zeros((rows, length), np.int64)
        for row, window in enumerate(filled):
            ids[row, : len(window)] = window
            mask[row, : len(window)] = 1
        device = self._network.device
        attention = torch.from_numpy(mask).to(device)
        with torch.inference_mode():
            states = self._network(
                input_ids=torch.from_numpy(ids).to(device), attention_mask=attention
            ).last_hidden_state
            pooled = pool_states(states, attention, self._settings.pooling)
        return pooled.float().cpu().numpy()[: len(windows)]


ENCODER = SentenceTransformersEncoder


def pool_states(states: Any, mask: Any, pooling: str) -> Any:
    """One vector per row.

    Args:
      states: tensor [rows, length, dimension].
      mask: tensor [rows, length], 1 for the real tokens, which stand first.
      pooling: "mean", "first", "maximum" or "last".

    Returns:
      Tensor [rows, dimension].
    """
    if pooling == "first":
        return states[:, 0]
    if pooling == "last":
        last = mask.sum(dim=1) - 1
        return states[last.new_tensor(range(len(states))), last]
    real = mask.unsqueeze(-1)
    if pooling == "maximum":
        return states.masked_fill(real == 0, float("-inf")).amax(dim=1)
    return (states * real).sum(dim=1) / real.sum(dim=1)


def _load_transformer(settings: Encoder) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise CommandError(
            "knowledge.encoder.kind 'sentence-transformers' needs a library that is not installed "
            f"({error}): pip install -r requirements-encoders.txt"
        ) from error
    try:
        transformer = SentenceTransformer(settings.model)[0]
    except Exception as error:  # the library has no common base of its errors
        raise CommandError(
            f"knowledge.encoder.model: '{settings.model}' cannot be loaded ({error}). Name a "
            "model that can be downloaded from here, or the folder of one"
        ) from error
    if getattr(transformer, "auto_model", None) is None or transformer.tokenizer is None:
        raise CommandError(
            f"knowledge.encoder.model: '{settings.model}' is no transformer that reads text"
        )
    transformer.auto_model.float().eval()
    return transformer


def _longest_window(transformer: Any) -> int:
    positions = getattr(transformer.auto_model.config, "max_position_embeddings", None)
    longest = [transformer.tokenizer.model_max_length, *([positions] if positions else [])]
    return min(longest)


def _weights_sha256(network: Any) -> str:
    digest = hashlib.sha256()
    for name, values in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _rounded_up(length: int) -> int:
    return -(-length // _LENGTH_STEP) * _LENGTH_STEP
