"""A text encoder as a model handler for Beam's RunInference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from apache_beam.ml.inference.base import ModelHandler
from tqdm import tqdm

from configs.knowledge import Encoder
from preprocessing.encoders.registry import encoder_class
from preprocessing.encoders.text_encoder import EncodedTexts, TextEncoder


class EncoderHandler(ModelHandler[list[str], EncodedTexts, TextEncoder]):
    """Encodes lists of texts.

    An element is a list already, as long as the encoder wants it, and Beam hands over one at a
    time: its vectors leave the handler, and are kept, before the next list is begun.

    Args:
      settings: configuration of the encoder.
      folder: path or URL of the folder where the prepared encoder lies.
    """

    def __init__(self, settings: Encoder, folder: str):
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._settings = settings
        self._folder = folder
        self._progress: tqdm | None = None

    def load_model(self) -> TextEncoder:
        """See `ModelHandler`; sessions cannot be sent, so every worker loads its own."""
        return encoder_class(self._settings.kind).load(self._settings, self._folder)

    def run_inference(
        self,
        batch: Sequence[list[str]],
        model: TextEncoder,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[EncodedTexts]:
        """Yields what came of each list of texts."""
        del inference_args
        if self._progress is None:
            self._progress = tqdm(
                desc=f"encode with {self._settings.kind}",
                unit="text",
                disable=None,  # only on a terminal
            )
        for texts in batch:
            encoded = model.encode(texts)
            self._progress.update(len(texts))
            yield encoded

    def get_num_bytes(self, batch: Sequence[list[str]]) -> int:
        """See `ModelHandler`; the default would pickle every text to count it."""
        return sum(len(text) for texts in batch for text in texts)

    def get_metrics_namespace(self) -> str:
        """See `ModelHandler`."""
        return "TextEncoder"
