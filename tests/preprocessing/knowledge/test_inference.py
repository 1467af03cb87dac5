from __future__ import annotations

import weakref

import numpy as np

from configs.scenario import Encoder
from preprocessing.encoders.tfidf import TfidfEncoder
from preprocessing.knowledge.inference import EncoderHandler


def test_every_list_of_texts_gets_its_matrix(tmp_path):
    settings = Encoder(kind="tfidf", dimension=2)
    TfidfEncoder.prepare(settings, ["red car", "blue car", "red sky"], tmp_path)
    handler = EncoderHandler(settings, tmp_path, texts=3)
    model = handler.load_model()
    weakref.ref(model)  # RunInference shares models by weak reference
    matrices = list(handler.run_inference([["red car", "sky"], ["blue"]], model))
    assert [matrix.shape for matrix in matrices] == [(2, 2), (1, 2)]
    np.testing.assert_array_equal(matrices[1], model.encode(["blue"]))
    assert handler.batch_elements_kwargs()["min_batch_size"] == 1
