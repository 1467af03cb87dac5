from __future__ import annotations

from pathlib import Path

import grpc
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from serving.server.errors import invalid
from serving.server.metrics import metrics_text
from serving.server.model_versions import load_failure, load_servable
from tests.serving.server.numbered_model import add_request, put_numbered_model, warmup_record


def attempts(folder: Path, status: str) -> bool:
    line = f'load_attempt_count{{model_path="{folder}",status="{status}"}} 1.0'
    return line in metrics_text().decode()


def test_a_version_is_loaded_and_counted(tmp_path: Path) -> None:
    folder = put_numbered_model(tmp_path, 4, warmup_record(add_request([1.0])))
    servable = load_servable("numbered", 4, folder)
    assert (servable.name, servable.version) == ("numbered", 4)
    assert servable.run("serving_default", {"x": tf.constant([1.0]).numpy()})["y"] == [5.0]
    assert attempts(folder, "success")


def test_a_version_that_fails_is_counted(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"saved_model.pb cannot be read"):
        load_servable("numbered", 1, tmp_path)
    assert attempts(tmp_path, "fail")


def test_failures_have_a_code_and_name_the_folder(tmp_path: Path) -> None:
    code, message = load_failure(tmp_path, OSError("anything"))
    assert code is grpc.StatusCode.NOT_FOUND
    assert message.startswith(f"{tmp_path}: no saved_model.pb")
    (tmp_path / "saved_model.pb").touch()
    for error, expected, reason in (
        (tf.errors.DataLossError(None, None, "torn\nin two"), "DATA_LOSS", "DataLossError: torn)"),
        (ValueError("what"), "FAILED_PRECONDITION", "ValueError: what)"),
        (invalid("no such input"), "INVALID_ARGUMENT", "a warm-up request failed: no such input"),
    ):
        code, message = load_failure(tmp_path, error)
        assert code.name == expected
        assert message.startswith(f"{tmp_path}: ")
        assert message.endswith(reason)
