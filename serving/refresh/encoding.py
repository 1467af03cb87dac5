"""Texts to knowledge vectors, by the encoder that made the vectors of the version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from configs.command_line import CommandError, say
from preprocessing.encoders.registry import encoder_class
from preprocessing.encoders.text_encoder import TextEncoder
from serving.refresh.description import RefreshDescription
from serving.refresh.incoming import Entry, Records


def encode_entries(
    entries: Sequence[Entry],
    source: str,
    description: RefreshDescription,
    encoder_folder: Path,
    records: Records,
) -> tuple[list[Entry], np.ndarray]:
    """Gives every entry of a source its knowledge vector.

    Args:
      entries: of the source.
      source: the source.
      description: of the version.
      encoder_folder: files of an encoder that was fitted on the source.
      records: gets the rejections.

    Returns:
      The entries that have a vector, and the vectors, float16 [entries, dimension].

    Raises:
      CommandError: the encoder is not there, or makes vectors of another width.
    """
    width = description.sources[source].dimension
    texts = list(dict.fromkeys(entry.text for entry in entries if entry.text is not None))
    vectors = np.zeros([0, width], np.float32)
    refused: dict[int, str] = {}
    if texts:
        vectors, refused = _encode(texts, source, description, encoder_folder)
    place_of = {text: place for place, text in enumerate(texts)}
    found = np.zeros([len(entries), width], np.float16)
    usable = []
    with np.errstate(over="ignore"):
        for row, entry in enumerate(entries):
            place = None if entry.text is None else place_of[entry.text]
            found[row] = entry.vector if place is None else vectors[place]
            problem = (
                ("encoder_refused", refused[place]) if place in refused else _problem_of(found[row])
            )
            if problem is None:
                usable.append(row)
            else:
                records.reject(entry.place, *problem)
    return [entries[row] for row in usable], found[usable]


def _encode(
    texts: Sequence[str], source: str, description: RefreshDescription, folder: Path
) -> tuple[np.ndarray, dict[int, str]]:
    settings, width = description.encoder, description.sources[source].dimension
    try:
        chosen = encoder_class(settings.kind)
    except ImportError as error:
        raise CommandError(
            f"the encoder '{settings.kind}' that made the vectors of '{source}' cannot be loaded "
            f"({error}); install it, or encode elsewhere and bring the vectors with --vectors"
        ) from error
    _compare_identity(chosen, source, description)
    try:
        encoder = chosen.load(settings, str(folder))
    except OSError as error:
        raise CommandError(
            f"{folder}: the encoder '{settings.kind}' of source '{source}' cannot be read "
            f"({error}); copy the version folder anew, or bring vectors with --vectors"
        ) from error
    parts: list[np.ndarray] = []
    refused: dict[int, str] = {}
    at_once = chosen.texts_per_element(settings)
    for start in range(0, len(texts), at_once):
        encoded = encoder.encode(texts[start : start + at_once])
        parts.append(encoded.vectors)
        refused |= {start + row: reason for row, reason in encoded.refused.items()}
    vectors = np.concatenate(parts)
    if vectors.shape[1] != width:
        raise CommandError(
            f"the encoder '{settings.kind}' makes vectors of width {vectors.shape[1]}, and those "
            f"of source '{source}' have {width}: it is another one than at training; install that "
            "one, or bring vectors with --vectors"
        )
    return vectors, refused


def _compare_identity(
    chosen: type[TextEncoder], source: str, description: RefreshDescription
) -> None:
    """Says where the encoder is not exactly the one of the version."""
    now = chosen.identity(description.encoder) or {}
    then = description.sources[source].encoder or {}
    for key, value in now.items():
        if key in then and then[key] != value:
            say(
                f"encoder of '{source}': {key} is {value!r}, and was {then[key]!r} when the "
                "model's vectors were made; vectors may differ in their last digits"
            )


def _problem_of(vector: np.ndarray) -> tuple[str, str] | None:
    if not np.isfinite(vector).all():
        return "non_finite_vector", "a number of the vector is not finite in float16"
    if not vector.any():
        return "zero_vector", "all numbers of the vector are zero"
    return None
