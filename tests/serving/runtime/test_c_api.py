from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from serving.c_api import (
    STRING_BYTES,
    CApiSession,
    encoded,
    library,
    read_strings,
    write_strings,
)
from tests.serving.toy_ranker import toy_arrays, toy_base_path, toy_row_scores


def toy_folder() -> Path:
    return toy_base_path() / "3"


def test_strings_and_whole_numbers_come_back() -> None:
    texts = np.array([b"", "über".encode(), b"\x00\xff" * 40], object)
    numbers = np.array([[1, -2], [2**62, 0], [3, 4]])
    with CApiSession(toy_folder()) as session:
        actual = session.run("echo", {"text_bytes": texts, "numbers": numbers})
        none = session.run("echo", {"text_bytes": texts[:0], "numbers": numbers[:0]})
    assert actual["text_bytes"].tolist() == texts.tolist()
    np.testing.assert_array_equal(actual["doubled"], numbers * 2)
    assert none["text_bytes"].shape == (0,)
    assert none["doubled"].shape == (0, 2)


def test_numbers_are_converted_and_need_not_lie_side_by_side() -> None:
    arrays = toy_arrays()
    arrays["history_rating"] = np.asfortranarray(arrays["history_rating"].astype(np.float64))
    arrays["user_log_count"] = np.repeat(arrays["user_log_count"], 2)[::2]
    with CApiSession(toy_folder()) as session:
        scores = session.run("serving_default", arrays)["score"]
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, toy_row_scores(), rtol=0, atol=1e-6)


def test_what_cannot_be_run_is_said() -> None:
    with CApiSession(toy_folder()) as session:
        with pytest.raises(CommandError, match="there is no signature 'rang'"):
            session.run("rang", {})
        with pytest.raises(CommandError, match="takes examples. Received: inputs"):
            session.run("predict_examples", {"inputs": np.array([b""], object)})
        with pytest.raises(CommandError, match="'predict_examples' cannot be run .*parse"):
            session.run("predict_examples", {"examples": np.array([b"\xff"], object)})
        # A refused call leaves the session as it was.
        assert len(session.run("serving_default", toy_arrays())["score"]) == 3


def test_what_cannot_be_loaded_is_said(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="saved_model.pb cannot be read"):
        CApiSession(tmp_path)
    damaged = tmp_path / "damaged"
    shutil.copytree(toy_folder(), damaged)
    (damaged / "variables" / "variables.index").write_bytes(b"nonsense")
    with pytest.raises(CommandError, match=f"{damaged} cannot be loaded by TensorFlow's C API"):
        CApiSession(damaged)


def test_its_functions_can_be_called() -> None:
    actual = library()
    status = actual.TF_NewStatus()
    assert actual.TF_GetCode(status) == 0
    assert actual.TF_Message(status) == b""
    actual.TF_DeleteStatus(status)
    assert library() is actual


def test_a_package_without_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.sysconfig, "get_lib", lambda: str(tmp_path))
    with pytest.raises(CommandError, match="need a Linux package of TensorFlow"):
        library.__wrapped__()


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
