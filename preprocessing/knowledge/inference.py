"""A text encoder as a model handler for Beam's RunInference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler

from configs.scenario import Encoder
from preprocessing.encoders.registry import encoder_class
from preprocessing.encoders.text_encoder import TextEncoder

TEXTS_PER_ELEMENT = 256
_ELEMENTS_PER_BATCH = 2


class EncoderHandler(ModelHandler[list[str], np.ndarray, TextEncoder]):
    """Encodes lists of texts; an element is a list, so that batches are the same in every run.

    Args:
      settings: configuration of the encoder.
      folder: where the prepared encoder lies.
    """

    def __init__(self, settings: Encoder, folder: Path):
        super().__init__(min_batch_size=1, max_batch_size=_ELEMENTS_PER_BATCH)
        self._settings = settings
        self._folder = folder

    def load_model(self) -> TextEncoder:
        """See `ModelHandler`; onnxruntime cannot be pickled, so every worker loads its own."""
        return encoder_class(self._settings.kind).load(self._settings, self._folder)

    def run_inference(
        self,
        batch: Sequence[list[str]],
        model: TextEncoder,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[np.ndarray]:
        """Yields float32 [texts, dimension] for each list of texts."""
        del inference_args
        for texts in batch:
            yield model.encode(texts)

    def get_metrics_namespace(self) -> str:
        """See `ModelHandler`."""
        return "TextEncoder"
