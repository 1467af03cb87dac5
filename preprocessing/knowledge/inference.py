"""A text encoder as a model handler for Beam's RunInference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler
from tqdm import tqdm

from configs.scenario import Encoder
from preprocessing.encoders.registry import encoder_class
from preprocessing.encoders.text_encoder import TextEncoder

TEXTS_PER_ELEMENT = 128
_ELEMENTS_PER_BATCH = 2


class EncoderHandler(ModelHandler[list[str], np.ndarray, TextEncoder]):
    """Encodes lists of texts; an element is a list, so that batches are the same in every run.

    Args:
      settings: configuration of the encoder.
      folder: where the prepared encoder lies.
      texts: number of texts in all, for the progress bar.
    """

    def __init__(self, settings: Encoder, folder: Path, texts: int):
        super().__init__(min_batch_size=1, max_batch_size=_ELEMENTS_PER_BATCH)
        self._settings = settings
        self._folder = folder
        self._texts = texts
        self._progress: tqdm | None = None

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
        if self._progress is None:
            self._progress = tqdm(
                total=self._texts,
                desc=f"encode with {self._settings.kind}",
                unit="answer",
                disable=None,  # only on a terminal
            )
        for texts in batch:
            vectors = model.encode(texts)
            self._progress.update(len(texts))
            yield vectors
        if self._progress.n >= self._texts:
            self._progress.close()

    def get_metrics_namespace(self) -> str:
        """See `ModelHandler`."""
        return "TextEncoder"
