from __future__ import annotations

import typing

from configs.knowledge import Encoder
from preprocessing.encoders.text_encoder import encoder_class


def test_every_kind_of_the_configuration_has_an_encoder():
    kinds = typing.get_args(Encoder.model_fields["kind"].annotation)
    assert {kind: encoder_class(kind).__name__ for kind in kinds} == {
        "minilm": "MiniLmEncoder",
        "tfidf": "TfidfEncoder",
        "sentence-transformers": "SentenceTransformersEncoder",
        "endpoint": "EndpointEncoder",
    }
