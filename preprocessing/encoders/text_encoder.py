"""Text encoders by name, and what every one of them offers."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from configs.knowledge import Encoder


@dataclass(frozen=True)
class EncodedTexts:
    """What came of some texts.

    Attributes:
      vectors: [texts, dimension] float32, not normalised; NaN for a refused text.
      refused: row -> why there is no vector for this text and never will be.
      tokens: what a paid service counted; 0 where nothing is paid.
    """

    vectors: np.ndarray
    refused: Mapping[int, str] = field(default_factory=dict)
    tokens: int = 0


class TextEncoder(Protocol):
    """Turns texts into knowledge vectors.

    The vector of a text depends on nothing but the text and `identity`, to the last bit: not on the
    texts it is encoded with, nor on their order. Where a service makes the vectors, that is up to
    the service.
    """

    @classmethod
    def identity(cls, settings: Encoder) -> dict[str, Any] | None:
        """Everything that decides the vector of a text, so that vectors can be kept for later runs.

        None when that is not worth while: the encoder is fitted on the answers and fast.

        Raises:
          CommandError: the encoder is not there, or is another one than it should be.
        """

    @classmethod
    def texts_per_element(cls, settings: Encoder) -> int:
        """Texts that are encoded and kept together; what a killed run has lost of its work."""

    @classmethod
    def prepare(cls, settings: Encoder, texts: Iterable[str], folder: str) -> dict[str, Any]:
        """Fits the encoder where it needs that, and freezes it as files; most need nothing.

        Args:
          settings: configuration of the encoder.
          texts: the accepted answers of one source, in a fixed order, at least one.
          folder: path or URL of the folder where files belong that `load` reads again.

        Returns:
          What the manifest says about the encoder beside its identity.
        """
        del settings, texts, folder
        return {}

    @classmethod
    def load(cls, settings: Encoder, folder: str) -> Self:
        """Loads what `prepare` prepared; runs in every worker."""

    def encode(self, texts: Sequence[str]) -> EncodedTexts:
        """Encodes texts.

        Raises:
          CommandError: the encoder cannot work until a person changes something.
        """


def average_of_windows(
    vectors: np.ndarray, tokens: Sequence[int], text_of_window: Sequence[int], texts: int
) -> np.ndarray:
    """The vector of each text: the mean of its windows' vectors, weighted by their tokens.

    A text of one window gets exactly that window's vector: a product of a float32 and a number of
    tokens fits into the 53 bits of a float64.

    Args:
      vectors: [windows, dimension] float32.
      tokens: [windows] real tokens of each window.
      text_of_window: [windows] which text each window is from; every text has one at least.
      texts: number of texts.

    Returns:
      [texts, dimension] float32.
    """
    weights = np.asarray(tokens, np.float64)
    owners = np.asarray(text_of_window, np.int64)
    sums = np.zeros((texts, vectors.shape[1]), np.float64)
    np.add.at(sums, owners, vectors.astype(np.float64) * weights[:, np.newaxis])
    totals = np.bincount(owners, weights, minlength=texts)
    return (sums / totals[:, np.newaxis]).astype(np.float32)


def encoder_class(kind: str) -> type[TextEncoder]:
    """The encoder that `knowledge.encoder.kind` names; only its own libraries are imported.

    It is the `ENCODER` of the module beside this one that is named like the kind.
    """
    module = importlib.import_module(f".{kind.replace('-', '_')}", __package__)
    encoder: type[TextEncoder] = module.ENCODER
    return encoder
