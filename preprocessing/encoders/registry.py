"""Text encoders by name. A new one is one file, one function here, and its name in `configs`."""

from __future__ import annotations

from collections.abc import Callable

from preprocessing.encoders.text_encoder import TextEncoder


def encoder_class(kind: str) -> type[TextEncoder]:
    """The encoder that `knowledge.encoder.kind` names; only its own libraries are imported."""
    return _ENCODERS[kind]()


def _minilm() -> type[TextEncoder]:
    from preprocessing.encoders.minilm import MiniLmEncoder

    return MiniLmEncoder


def _tfidf() -> type[TextEncoder]:
    from preprocessing.encoders.tfidf import TfidfEncoder

    return TfidfEncoder


def _sentence_transformers() -> type[TextEncoder]:
    from preprocessing.encoders.sentence_transformers import SentenceTransformersEncoder

    return SentenceTransformersEncoder


def _endpoint() -> type[TextEncoder]:
    from preprocessing.encoders.endpoint import EndpointEncoder

    return EndpointEncoder


_ENCODERS: dict[str, Callable[[], type[TextEncoder]]] = {
    "minilm": _minilm,
    "tfidf": _tfidf,
    "sentence-transformers": _sentence_transformers,
    "endpoint": _endpoint,
}
