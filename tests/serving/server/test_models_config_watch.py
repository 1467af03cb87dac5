from __future__ import annotations

import logging
from pathlib import Path

import grpc
import pytest

from serving.server.errors import RequestError
from serving.server.model_settings import ModelSettings
from serving.server.server_files import watch_models_config
from tests.serving.server.waiting import wait_until

CONFIG = (
    'model_config_list {{ config {{ name: "{}" base_path: "b" model_platform: "tensorflow" }} }}'
)


def test_the_file_is_read_again_and_mistakes_are_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "models.config"
    seen: list[str] = []

    def reload(models: list[ModelSettings]) -> None:
        seen.append(models[0].name)
        if models[0].name == "refused":
            raise RequestError(grpc.StatusCode.FAILED_PRECONDITION, "by design")

    path.write_text(CONFIG.format("one"))
    with caplog.at_level(logging.WARNING):
        watching = watch_models_config(path, reload, 0.01)
        try:
            wait_until(lambda: "one" in seen)
            path.write_text("wrong")
            wait_until(lambda: bool(caplog.records))
            path.write_text(CONFIG.format("refused"))
            wait_until(lambda: seen.count("refused") >= 3)
            path.write_text(CONFIG.format("two"))
            wait_until(lambda: "two" in seen)
        finally:
            watching.stop()
    messages = [record.getMessage() for record in caplog.records]
    assert any(f"{path}: not a models.config" in message for message in messages)
    assert messages.count(f"{path}: by design") == 1
