from __future__ import annotations

import ctypes

import numpy as np
import pytest

from serving.runtime.c_api import STRING_BYTES, encoded, library, read_strings, write_strings


def test_tensorflow_reads_what_was_written_over_whatever_was_there() -> None:
    random = np.random.default_rng(1)
    texts = [random.bytes(size) for size in (*range(30), 127, 128, 5000)]
    texts += [b"\x00", b"ends in zeros\x00\x00", b"\x00" * 22, b"\x00" * 23]
    memory = (ctypes.c_uint8 * (len(texts) * STRING_BYTES))(*([255] * len(texts) * STRING_BYTES))
    start = ctypes.addressof(memory)
    write_strings(start, texts)
    functions = library()
    places = range(start, start + len(memory), STRING_BYTES)
    assert [functions.TF_StringGetSize(place) for place in places] == [len(text) for text in texts]
    assert [
        ctypes.string_at(functions.TF_StringGetDataPointer(place), len(text) + 1)
        for place, text in zip(places, texts, strict=True)
    ] == [text + b"\x00" for text in texts]
    assert read_strings(start, len(texts)) == texts


def test_texts_of_a_matrix_are_written_row_by_row_as_utf8() -> None:
    memory = (ctypes.c_uint8 * (4 * STRING_BYTES))()
    values = np.array([["ü", b"i2"], ["", "a title of more than 22 lettérs"]], object)
    write_strings(ctypes.addressof(memory), encoded(values))
    assert read_strings(ctypes.addressof(memory), 4) == [
        "ü".encode(),
        b"i2",
        b"",
        "a title of more than 22 lettérs".encode(),
    ]


def test_no_string_needs_no_memory() -> None:
    write_strings(0, encoded(np.zeros([0, 3], object)))
    assert read_strings(0, 0) == []


def test_half_of_a_pair_of_surrogates_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        encoded(np.array([b"i1", "\ud800"], object))
