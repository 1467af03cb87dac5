from __future__ import annotations

import typing

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_info, threadpool_limits

from configs.command_line import CommandError
from configs.knowledge import Encoder
from preprocessing.encoders.text_encoder import average_of_windows, encoder_class
from preprocessing.encoders.tfidf import TfidfEncoder

TEXTS = [
    "a quiet family drama in a quiet town",
    "a loud space battle",
    "a family comedy in space",
    "a town drama",
]
NEW = ["quiet space", "unseen words only", ""]


def test_vectors_equal_those_of_scikit_learn(tmp_path):
    settings = Encoder(kind="tfidf", dimension=3, seed=5)
    described = TfidfEncoder.prepare(settings, TEXTS, str(tmp_path))
    assert described == {"kind": "tfidf", "dimension": 3, "components": 3, "terms": 9}
    encoder = TfidfEncoder.load(settings, str(tmp_path))
    vectorizer = TfidfVectorizer(sublinear_tf=True)
    decomposition = TruncatedSVD(3, random_state=5)
    expected = decomposition.fit_transform(vectorizer.fit_transform(TEXTS))
    np.testing.assert_allclose(encoder.encode(TEXTS).vectors, expected, atol=1e-6)
    np.testing.assert_allclose(
        encoder.encode(NEW).vectors, decomposition.transform(vectorizer.transform(NEW)), atol=1e-6
    )
    assert encoder.encode(NEW).vectors.dtype == np.float32
    assert not encoder.encode(NEW).vectors[1:].any()


def test_few_answers_are_filled_up_with_zeros(tmp_path):
    described = TfidfEncoder.prepare(Encoder(kind="tfidf", dimension=256), TEXTS, str(tmp_path))
    assert described["dimension"] == 256 and described["components"] == 4
    vectors = TfidfEncoder.load(Encoder(kind="tfidf"), str(tmp_path)).encode(TEXTS).vectors
    weights = TfidfVectorizer(sublinear_tf=True).fit_transform(TEXTS)
    assert vectors.shape == (4, 256) and not vectors[:, 4:].any()
    np.testing.assert_allclose(vectors @ vectors.T, (weights @ weights.T).toarray(), atol=1e-6)


def test_a_single_answer_is_enough(tmp_path):
    TfidfEncoder.prepare(Encoder(kind="tfidf"), TEXTS[:1], str(tmp_path))
    assert TfidfEncoder.load(Encoder(kind="tfidf"), str(tmp_path)).encode(
        TEXTS[:1]
    ).vectors.shape == (1, 256)


def test_answers_without_words_are_explained(tmp_path):
    with pytest.raises(CommandError, match="no word"):
        TfidfEncoder.prepare(Encoder(kind="tfidf"), ["?", "!"], str(tmp_path))


def test_frozen_files_hold_no_pickle(tmp_path):
    TfidfEncoder.prepare(Encoder(kind="tfidf", dimension=2), TEXTS, str(tmp_path))
    with np.load(tmp_path / "tfidf_arrays.npz", allow_pickle=False) as arrays:
        assert {name: arrays[name].dtype.kind for name in arrays} == {
            "inverse_document_frequency": "f",
            "components": "f",
        }


def test_a_vector_does_not_depend_on_the_other_texts(tmp_path):
    settings = Encoder(kind="tfidf", dimension=3)
    TfidfEncoder.prepare(settings, iter(TEXTS), str(tmp_path))
    encoder = TfidfEncoder.load(settings, str(tmp_path))
    whole = encoder.encode(TEXTS).vectors
    np.testing.assert_array_equal(encoder.encode(TEXTS[::-1]).vectors, whole[::-1])
    np.testing.assert_array_equal(encoder.encode(TEXTS[2:3]).vectors[0], whole[2])


def test_vectors_of_fitted_encoders_are_not_kept():
    assert TfidfEncoder.identity(Encoder(kind="tfidf")) is None


def test_answers_with_one_distinct_word_are_explained(tmp_path):
    with pytest.raises(CommandError, match="a single distinct word, 'drama'"):
        TfidfEncoder.prepare(Encoder(kind="tfidf"), ["Drama", "drama drama"], str(tmp_path))


def test_it_is_fitted_in_one_thread(tmp_path, monkeypatch):
    threads = set()
    fit = TruncatedSVD.fit

    def noted(decomposition, weights):
        threads.update(library["num_threads"] for library in threadpool_info())
        return fit(decomposition, weights)

    monkeypatch.setattr(TruncatedSVD, "fit", noted)
    with threadpool_limits(limits=2):
        TfidfEncoder.prepare(Encoder(kind="tfidf", dimension=2), TEXTS, str(tmp_path))
    assert threads == {1}


def test_every_kind_of_the_configuration_has_an_encoder():
    kinds = typing.get_args(Encoder.model_fields["kind"].annotation)
    assert {kind: encoder_class(kind).__name__ for kind in kinds} == {
        "minilm": "MiniLmEncoder",
        "tfidf": "TfidfEncoder",
        "sentence-transformers": "SentenceTransformersEncoder",
        "endpoint": "EndpointEncoder",
    }


def test_windows_count_by_their_tokens():
    windows = np.array([[1.0, 0.0], [4.0, 8.0], [5.0, 5.0]], np.float32)
    averaged = average_of_windows(windows, [30, 10, 7], [1, 1, 0], 2)
    np.testing.assert_allclose(averaged, [[5, 5], [(30 + 40) / 40, 80 / 40]])
    assert averaged.dtype == np.float32


def test_one_window_keeps_its_vector_to_the_last_bit():
    rng = np.random.default_rng(1)
    windows = rng.normal(scale=0.3, size=(2000, 5)).astype(np.float32)
    averaged = average_of_windows(windows, rng.integers(1, 513, 2000), range(2000), 2000)
    np.testing.assert_array_equal(averaged, windows)
