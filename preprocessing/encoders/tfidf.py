"""TF-IDF and truncated SVD (latent semantic analysis), fitted on a source's own answers.

The choice without any model file. The fitted encoder is frozen beside the vectors it made: the
terms as JSON, the numbers as NumPy arrays.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from typing import Any, Self

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits
from typing_extensions import override

from configs.command_line import CommandError
from configs.knowledge import Encoder
from preprocessing import storage
from preprocessing.encoders.text_encoder import EncodedTexts, TextEncoder

_TERMS = "tfidf_terms.json"
_ARRAYS = "tfidf_arrays.npz"
_TEXTS_PER_ELEMENT = 1024


class TfidfEncoder(TextEncoder):
    """TF-IDF with sublinear term frequency, projected on the leading singular vectors.

    Args:
      terms: the vocabulary, in the order of the columns.
      inverse_document_frequency: [terms].
      components: [dimension, terms], the right singular vectors.
    """

    def __init__(
        self, terms: list[str], inverse_document_frequency: np.ndarray, components: np.ndarray
    ):
        columns = {term: column for column, term in enumerate(terms)}
        self._vectorizer = TfidfVectorizer(sublinear_tf=True, vocabulary=columns)
        self._vectorizer.idf_ = inverse_document_frequency
        self._components = components

    @classmethod
    @override
    def identity(cls, settings: Encoder) -> None:
        """None, since it is fitted on the answers."""
        del settings

    @classmethod
    @override
    def texts_per_element(cls, settings: Encoder) -> int:
        del settings
        return _TEXTS_PER_ELEMENT

    @classmethod
    @override
    def prepare(cls, settings: Encoder, texts: Iterable[str], folder: str) -> dict[str, Any]:
        """Fits vocabulary, weights and components on all texts.

        There are at most as many components as texts and as terms. Vectors have the width asked for
        all the same, filled up with zeros, so that sources of different sizes fit one model.

        Raises:
          CommandError: no text holds a word, or all texts hold the same single one.
        """
        vectorizer = TfidfVectorizer(sublinear_tf=True)
        try:
            weights = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise CommandError(
                f"the answers hold no word that TF-IDF could use ({error})"
            ) from error
        terms = vectorizer.get_feature_names_out().tolist()
        if len(terms) == 1:
            raise CommandError(
                f"the answers hold a single distinct word, '{terms[0]}', and TF-IDF needs two to "
                "tell them apart; look at the answers, or choose another knowledge.encoder.kind"
            )
        fitted = min(settings.dimension, *weights.shape)
        decomposition = TruncatedSVD(fitted, random_state=settings.seed)
        # The number of threads changes the last bits of the result. And the explained variance,
        # which nobody uses, is 0/0 for one text.
        with threadpool_limits(limits=1), np.errstate(invalid="ignore"):
            decomposition.fit(weights)
        components = np.zeros((settings.dimension, len(terms)))
        components[:fitted] = decomposition.components_
        with storage.create_bytes(storage.join(folder, _TERMS)) as file:
            file.write(json.dumps(terms).encode())
        arrays = io.BytesIO()
        np.savez(
            arrays,
            inverse_document_frequency=vectorizer.idf_,
            components=components,
        )
        with storage.create_bytes(storage.join(folder, _ARRAYS)) as file:
            file.write(arrays.getvalue())
        return {
            "kind": "tfidf",
            "dimension": settings.dimension,
            "components": fitted,
            "terms": len(terms),
        }

    @classmethod
    @override
    def load(cls, settings: Encoder, folder: str) -> Self:
        del settings
        with storage.open_bytes(storage.join(folder, _TERMS)) as file:
            terms = json.load(file)
        with storage.open_bytes(storage.join(folder, _ARRAYS)) as file:
            content = io.BytesIO(file.read())
        with np.load(content, allow_pickle=False) as arrays:
            return cls(terms, arrays["inverse_document_frequency"], arrays["components"])

    @override
    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        weights = self._vectorizer.transform(texts)
        return EncodedTexts(np.asarray(weights @ self._components.T, dtype=np.float32))


ENCODER = TfidfEncoder
