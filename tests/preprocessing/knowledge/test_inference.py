from __future__ import annotations

import weakref

import numpy as np

from configs.knowledge import Encoder
from preprocessing.encoders.tfidf import TfidfEncoder
from preprocessing.knowledge.encoding import EncoderHandler


def test_every_list_of_texts_gets_its_matrix(tmp_path):
    settings = Encoder(kind="tfidf", dimension=2)
    TfidfEncoder.prepare(settings, ["red car", "blue car", "red sky"], str(tmp_path))
    handler = EncoderHandler(settings, str(tmp_path))
    model = handler.load_model()
    weakref.ref(model)  # RunInference shares models by weak reference
    encoded = list(handler.run_inference([["red car", "sky"], ["blue"]], model))
    assert [result.vectors.shape for result in encoded] == [(2, 2), (1, 2)]
    np.testing.assert_array_equal(encoded[1].vectors, model.encode(["blue"]).vectors)
    assert handler.get_num_bytes([["ab", "c"], ["d"]]) == 4


def test_a_list_leaves_the_handler_before_the_next_one_comes():
    batching = EncoderHandler(Encoder(kind="tfidf"), "").batch_elements_kwargs()
    assert (batching["min_batch_size"], batching["max_batch_size"]) == (1, 1)
