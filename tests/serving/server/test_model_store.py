from __future__ import annotations

import logging
import shutil
from pathlib import Path

import grpc
import pytest

from configs.command_line import CommandError
from serving.protocol.messages import model_pb2
from serving.server.errors import RequestError
from serving.server.model_store import ModelStore, load_latest, version_folders
from tests.serving.toy_ranker import toy_base_path


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore.load({"toy": toy_base_path()})


def test_only_numbered_folders_are_versions(tmp_path: Path) -> None:
    for name in ("1", "002", "10", "v3", "-4", "٣", ".tmp-5"):
        (tmp_path / name).mkdir()
    (tmp_path / "11").write_text("a file")
    assert [(version, folder.name) for version, folder in version_folders(tmp_path)] == [
        (10, "10"),
        (2, "002"),
        (1, "1"),
    ]


def test_broken_versions_are_skipped_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(toy_base_path() / "3", tmp_path / "3")
    (tmp_path / "7").mkdir()
    (tmp_path / "8").mkdir()
    (tmp_path / "8" / "saved_model.pb").write_bytes(b"\xff\xff\xff")
    shutil.copytree(toy_base_path() / "3", tmp_path / "9")
    shutil.rmtree(tmp_path / "9" / "variables")
    with caplog.at_level(logging.WARNING):
        assert load_latest("toy", tmp_path).version == 3
    messages = [record.getMessage() for record in caplog.records if "skipped" in record.message]
    assert len(messages) == 3
    for version, message in zip((9, 8, 7), messages, strict=True):
        assert str(tmp_path / str(version)) in message
    assert "no saved_model.pb" in messages[2]


def test_no_loadable_version_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as caught:
        load_latest("toy", tmp_path)
    assert f"{tmp_path}: no version" in str(caught.value)
    assert "no folder whose name is a version number" in str(caught.value)
    (tmp_path / "4").mkdir()
    with pytest.raises(CommandError) as caught:
        load_latest("toy", tmp_path)
    assert f"{tmp_path / '4'}: no saved_model.pb" in str(caught.value)


def test_a_missing_base_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="nowhere: no such folder"):
        load_latest("toy", tmp_path / "nowhere")


def test_requests_find_the_model(store: ModelStore) -> None:
    assert store.versions == {"toy": 3}
    assert store.find(model_pb2.ModelSpec(name="toy")).version == 3
    assert store.find(model_pb2.ModelSpec(name="toy", version={"value": 3})).version == 3


@pytest.mark.parametrize(
    ("specification", "code", "reason"),
    [
        (model_pb2.ModelSpec(), grpc.StatusCode.INVALID_ARGUMENT, "names no model"),
        (model_pb2.ModelSpec(name="other"), grpc.StatusCode.NOT_FOUND, '"other".*toy'),
        (
            model_pb2.ModelSpec(name="toy", version={"value": 2}),
            grpc.StatusCode.NOT_FOUND,
            'version 2 of model "toy".*version 3',
        ),
        (
            model_pb2.ModelSpec(name="toy", version={"value": 0}),
            grpc.StatusCode.NOT_FOUND,
            "version 0",
        ),
        (
            model_pb2.ModelSpec(name="toy", version_label="stable"),
            grpc.StatusCode.INVALID_ARGUMENT,
            'label "stable"',
        ),
    ],
)
def test_requests_for_something_else_are_refused(
    store: ModelStore, specification: model_pb2.ModelSpec, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        store.find(specification)
    assert caught.value.code is code
