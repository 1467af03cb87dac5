from __future__ import annotations

from pathlib import Path

import pytest

from configs.loading import ConfigurationError
from serving.server.text_protos import read_text_message


def test_fields_are_read_with_their_wrappers(tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    path.write_text("max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 8")
    message = read_text_message(path, "BatchingParameters")
    assert message.max_batch_size.value == 8
    assert list(message.allowed_batch_sizes) == [2, 8]
    assert not message.HasField("batch_timeout_micros")


def test_numbers_of_fields_are_tensorflow_servings(tmp_path: Path) -> None:
    path = tmp_path / "ssl.config"
    path.write_text('server_key: "k" server_cert: "c" custom_ca: "a" client_verify: true')
    # Field 1 to 4: three texts of one byte, and true.
    assert read_text_message(path, "SSLConfig").SerializeToString(deterministic=True) == (
        b"\x0a\x01k\x12\x01c\x1a\x01a\x20\x01"
    )


def test_a_mistake_is_placed_and_never_quoted(tmp_path: Path) -> None:
    path = tmp_path / "ssl.config"
    path.write_text('server_cert: "c"\nserver_key: SECRET')
    with pytest.raises(
        ConfigurationError, match="ssl.config: line 2, column .*server_key"
    ) as caught:
        read_text_message(path, "SSLConfig")
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing: cannot be read"):
        read_text_message(tmp_path / "nothing", "SSLConfig")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="bytes: not a text file"):
        read_text_message(tmp_path / "bytes", "SSLConfig")
