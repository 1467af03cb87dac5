from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.knowledge import Encoder
from preprocessing.answers.record import Place
from preprocessing.encoders.tfidf import TfidfEncoder
from serving.refresh.incoming import Entry, Records, encode_entries
from tests.serving.refresh.descriptions import description, source

_TEXTS = ["horses and dust", "jokes and wit", "grief and dust", "horses and jokes"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    TfidfEncoder.prepare(Encoder(kind="tfidf", dimension=3), _TEXTS, str(tmp_path))
    return tmp_path


def entry(line: int, text: str | None, vector: list[float] | None = None) -> Entry:
    given = None if vector is None else np.array(vector)
    return Entry(Place("new", line), "item", False, str(line), text, given)


def test_texts_and_vectors_become_float16_vectors_in_order(folder: Path) -> None:
    entries = [entry(1, _TEXTS[2]), entry(2, None, [0.1, 2, 3]), entry(3, _TEXTS[2])]
    used, vectors = encode_entries(entries, "item", description(), folder, Records())
    frozen = TfidfEncoder.load(Encoder(kind="tfidf", dimension=3), str(folder))
    (expected,) = frozen.encode([_TEXTS[2]]).vectors.astype(np.float16)
    assert used == entries
    assert vectors.dtype == np.float16
    np.testing.assert_array_equal(vectors[[0, 2]], [expected, expected])
    np.testing.assert_array_equal(vectors[1], np.array([0.1, 2, 3], np.float16))


def test_vectors_without_content_are_rejected(folder: Path) -> None:
    records = Records()
    entries = [
        entry(1, "unheard of"),
        entry(2, None, [0, 0, 0]),
        entry(3, None, [1e6, 0, 0]),
        entry(4, _TEXTS[0]),
    ]
    used, vectors = encode_entries(entries, "item", description(), folder, records)
    assert (used, len(vectors)) == ([entries[3]], 1)
    reasons = [reason for reason, _ in records.rejections.values()]
    assert reasons == ["zero_vector", "zero_vector", "non_finite_vector"]


def test_another_encoder_is_refused(folder: Path, tmp_path: Path) -> None:
    wide = description(item=source(dimension=4))
    with pytest.raises(CommandError, match="width 3, and those of source 'item' have 4"):
        encode_entries([entry(1, _TEXTS[0])], "item", wide, folder, Records())
    with pytest.raises(CommandError, match="cannot be read.*bring vectors with --vectors"):
        encode_entries([entry(1, _TEXTS[0])], "item", description(), tmp_path / "x", Records())
