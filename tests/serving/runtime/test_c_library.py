from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from configs.command_line import CommandError
from serving.runtime.c_api import library


def test_its_functions_can_be_called() -> None:
    found = library()
    status = found.TF_NewStatus()
    assert found.TF_GetCode(status) == 0
    assert found.TF_Message(status) == b""
    found.TF_DeleteStatus(status)
    assert library() is found


def test_a_package_without_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.sysconfig, "get_lib", lambda: str(tmp_path))
    with pytest.raises(CommandError, match="need a Linux package of TensorFlow"):
        library.__wrapped__()
