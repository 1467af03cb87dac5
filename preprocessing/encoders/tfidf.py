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

from configs.command_line import CommandError
from configs.knowledge import Encoder
from preprocessing import storage
from preprocessing.encoders.text_encoder import EncodedTexts

_TERMS = "tfidf_terms.json"
_ARRAYS = "tfidf_arrays.npz"
_TEXTS_PER_ELEMENT = 1024


class TfidfEncoder:
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
    def identity(cls, settings: Encoder) -> None:
        """See `TextEncoder`: fitted on the answers, so there is none."""
        del settings

    @classmethod
    def texts_per_element(cls, settings: Encoder) -> int:
        """See `TextEncoder`."""
        del settings
        return _TEXTS_PER_ELEMENT

    @classmethod
    def prepare(cls, settings: Encoder, texts: Iterable[str], folder: str) -> dict[str, Any]:
        """See `TextEncoder`. The width is at most the number of texts and of terms.

        Raises:
          CommandError: no text holds a word.
        """
        vectorizer = TfidfVectorizer(sublinear_tf=True)
        try:
            weights = vectorizer.fit_transform(texts)
        except ValueError as error:
            raise CommandError(
                f"the answers hold no word that TF-IDF could use ({error})"
            ) from error
        dimension = min(settings.dimension, *weights.shape)
        with np.errstate(invalid="ignore"):  # its unused explained variance is 0/0 for one text
            decomposition = TruncatedSVD(dimension, random_state=settings.seed).fit(weights)
        terms = vectorizer.get_feature_names_out().tolist()
        with storage.create_bytes(storage.join(folder, _TERMS)) as file:
            file.write(json.dumps(terms).encode())
        arrays = io.BytesIO()
        np.savez(
            arrays,
            inverse_document_frequency=vectorizer.idf_,
            components=decomposition.components_,
        )
        with storage.create_bytes(storage.join(folder, _ARRAYS)) as file:
            file.write(arrays.getvalue())
        return {
            "kind": "tfidf",
            "dimension": dimension,
            "requested_dimension": settings.dimension,
            "terms": len(terms),
        }

    @classmethod
    def load(cls, settings: Encoder, folder: str) -> Self:
        """See `TextEncoder`."""
        del settings
        with storage.open_bytes(storage.join(folder, _TERMS)) as file:
            terms = json.load(file)
        with storage.open_bytes(storage.join(folder, _ARRAYS)) as file:
            content = io.BytesIO(file.read())
        with np.load(content, allow_pickle=False) as arrays:
            return cls(terms, arrays["inverse_document_frequency"], arrays["components"])

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """See `TextEncoder`."""
        weights = self._vectorizer.transform(texts)
        return EncodedTexts(np.asarray(weights @ self._components.T, dtype=np.float32))
