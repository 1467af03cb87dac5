from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import grpc
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from serving.protocol.messages import get_model_status_pb2, prediction_log_pb2
from serving.server.errors import RequestError, invalid
from serving.server.metrics import metrics_text
from serving.server.model_store import (
    ModelVersions,
    VersionState,
    VersionStatus,
    checked_labels,
    failure_text,
    folder_state,
    load_failure,
    load_servable,
    replay_warmup,
)
from serving.server.servable import Servable
from serving.server.server_files import ModelSettings, VersionPolicy
from tests.serving.server.numbered_model import add_request, put_numbered_model, warmup_record
from tests.serving.toy_ranker import toy_base_path, toy_examples


class Loaded:
    """Stands for a servable, of which this module needs nothing but that it holds an engine."""

    engine = None


class Loader:
    """Loads a folder unless it holds a file called `broken`; keeps a record."""

    def __init__(self) -> None:
        self.loads: list[int] = []
        self.available_meanwhile: list[list[int]] = []
        self.versions: ModelVersions | None = None

    def __call__(self, name: str, version: int, folder: Path) -> Servable:
        self.loads.append(version)
        if self.versions is not None:
            self.available_meanwhile.append(sorted(self.versions.available))
        if (folder / "broken").exists():
            raise RequestError(grpc.StatusCode.DATA_LOSS, "by design")
        return cast(Servable, Loaded())


class Model:
    """A base path and the versions that are made of it."""

    def __init__(self, base: Path, policy: str = "latest"):
        self.base = base
        self.loader = Loader()
        settings = ModelSettings("toy", base, VersionPolicy.parse(policy))
        self.versions = ModelVersions(settings, self.loader)
        self.loader.versions = self.versions

    def put(self, version: int, broken: bool = False) -> None:
        (self.base / str(version)).mkdir()
        (self.base / str(version) / "saved_model.pb").touch()
        if broken:
            (self.base / str(version) / "broken").touch()

    def delete(self, version: int) -> None:
        shutil.rmtree(self.base / str(version))

    def update(self) -> list[int]:
        self.versions.update()
        return sorted(self.versions.available)

    def states(self) -> dict[int, str]:
        return {status.version: status.state.name for status in self.versions.statuses()}


def test_a_new_version_takes_over_and_the_old_one_ends(tmp_path: Path) -> None:
    model = Model(tmp_path)
    model.put(1)
    assert model.update() == [1]
    assert model.update() == [1]
    model.put(2)
    assert model.update() == [2]
    assert model.states() == {2: "AVAILABLE", 1: "END"}
    assert model.loader.loads == [1, 2]
    # The old one served until the new one was there.
    assert model.loader.available_meanwhile == [[], [1]]


def test_a_version_in_use_is_unloading_until_the_last_user_is_done(tmp_path: Path) -> None:
    model = Model(tmp_path)
    model.put(1)
    model.update()
    first_user = second_user = model.versions.available[1]
    model.put(2)
    assert model.update() == [2]
    assert model.states() == {2: "AVAILABLE", 1: "UNLOADING"}
    del first_user
    assert not model.versions.end_unloading()
    del second_user
    assert model.versions.end_unloading()
    assert model.states() == {2: "AVAILABLE", 1: "END"}
    assert not model.versions.end_unloading()


def test_statuses_leave_the_engine_of_an_unused_version_to_the_next_look(tmp_path: Path) -> None:
    model = Model(tmp_path)
    model.put(1)
    model.update()
    user = model.versions.available[1]
    model.put(2)
    model.update()
    del user
    assert model.states() == model.states() == {2: "AVAILABLE", 1: "END"}
    assert model.versions.end_unloading()


def test_a_version_that_is_dropped_twice_while_it_is_in_use_ends_with_its_last_user(
    tmp_path: Path,
) -> None:
    model = Model(tmp_path)
    users = []
    for _ in range(2):
        model.put(1)
        model.update()
        users.append(model.versions.available[1])
        model.delete(1)
        model.update()
    assert model.loader.loads == [1, 1]
    assert model.states() == {1: "UNLOADING"}
    users.pop()
    assert model.versions.end_unloading()
    assert model.states() == {1: "UNLOADING"}
    users.pop()
    assert model.states() == {1: "END"}
    assert model.versions.end_unloading()
    assert not model.versions.end_unloading()


def test_policies_hold_several_versions(tmp_path: Path) -> None:
    model = Model(tmp_path, "latest:2")
    for version in (1, 2, 3):
        model.put(version)
    assert model.update() == [2, 3]
    assert model.loader.loads == [3, 2]
    model.versions.settings = ModelSettings("toy", tmp_path, VersionPolicy.parse("all"))
    assert model.update() == [1, 2, 3]
    model.versions.settings = ModelSettings("toy", tmp_path, VersionPolicy.parse("specific:1,9"))
    assert model.update() == [1]
    assert model.states() == {3: "END", 2: "END", 1: "AVAILABLE"}
    assert model.loader.loads == [3, 2, 1]


def test_a_broken_version_is_reported_and_the_old_one_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = Model(tmp_path)
    model.put(1)
    model.update()
    model.put(2, broken=True)
    with caplog.at_level(logging.WARNING):
        assert model.update() == [1]
    broken, old = model.versions.statuses()
    assert (broken.version, broken.state.name) == (2, "END")
    assert broken.code is grpc.StatusCode.DATA_LOSS
    assert str(tmp_path / "2") in broken.message
    assert "by design" in broken.message
    assert (old.version, old.state.name) == (1, "AVAILABLE")
    assert str(tmp_path / "2") in caplog.text


def test_a_broken_version_is_tried_again_only_when_its_files_change(tmp_path: Path) -> None:
    model = Model(tmp_path)
    model.put(1, broken=True)
    for _ in range(3):
        assert model.update() == []
    assert model.loader.loads == [1]
    (tmp_path / "1" / "variables").touch()
    assert model.update() == []
    assert model.loader.loads == [1, 1]
    (tmp_path / "1" / "broken").unlink()
    assert model.update() == [1]
    assert model.states() == {1: "AVAILABLE"}


def test_a_broken_version_is_tried_again_when_its_folder_comes_back(tmp_path: Path) -> None:
    model = Model(tmp_path)
    model.put(1, broken=True)
    model.update()
    kept = tmp_path / "kept"
    (tmp_path / "1").rename(kept)
    model.update()
    kept.rename(tmp_path / "1")
    model.update()
    assert model.loader.loads == [1, 1]


def test_deleting_the_served_version_brings_the_one_below_back(tmp_path: Path) -> None:
    model = Model(tmp_path)
    model.put(1)
    model.put(2)
    assert model.update() == [2]
    model.delete(2)
    assert model.update() == [1]
    assert model.loader.available_meanwhile == [[], [2]]


def test_without_any_version_folder_all_are_dropped(tmp_path: Path) -> None:
    model = Model(tmp_path)
    model.put(1)
    model.update()
    model.delete(1)
    assert model.update() == []
    assert model.states() == {1: "END"}


def test_a_base_path_that_cannot_be_listed_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    model = Model(base)
    model.put(1)
    model.update()
    base.rename(tmp_path / "elsewhere")
    with caplog.at_level(logging.WARNING):
        assert model.update() == model.update() == [1]
    assert len(caplog.records) == 1
    assert f"{base}: cannot be listed" in caplog.text


def test_unloading_drops_everything(tmp_path: Path) -> None:
    model = Model(tmp_path, "all")
    model.put(1)
    model.put(2)
    model.update()
    model.versions.unload_all()
    assert model.versions.available == {}
    assert model.states() == {2: "END", 1: "END"}


def test_the_reasons_for_serving_nothing_are_told(tmp_path: Path) -> None:
    model = Model(tmp_path, "specific:4")
    model.put(3)
    model.update()
    assert "no folder of a version that the policy wants" in failure_text(model.versions)
    model.put(4, broken=True)
    model.update()
    assert "by design" in failure_text(model.versions)
    nowhere = Model(tmp_path / "nowhere")
    nowhere.update()
    assert "nowhere: no such folder" in failure_text(nowhere.versions)


def test_a_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    empty = folder_state(tmp_path)
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(b"1")
    one = folder_state(tmp_path)
    assert one == folder_state(tmp_path) != empty
    (tmp_path / "variables" / "data").write_bytes(b"12")
    assert folder_state(tmp_path) != one
    assert folder_state(tmp_path / "nowhere") == frozenset()


def test_a_folder_may_vanish_while_its_fingerprint_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir

    def deleted_meanwhile(folder: str | Path) -> object:
        if Path(folder).name == "variables":
            Path(folder).rmdir()
        return scandir(folder)

    (tmp_path / "saved_model.pb").write_bytes(b"1")
    (tmp_path / "variables").mkdir()
    monkeypatch.setattr(os, "scandir", deleted_meanwhile)
    assert "saved_model.pb" in {path for path, _, _ in folder_state(tmp_path)}
    assert not (tmp_path / "variables").exists()


def test_a_status_is_written_as_tensorflow_serving_does() -> None:
    response = get_model_status_pb2.GetModelStatusResponse()
    VersionStatus(7, VersionState.AVAILABLE).add_to(response)
    VersionStatus(8, VersionState.END, grpc.StatusCode.NOT_FOUND, "gone").add_to(response)
    available, ended = response.model_version_status
    # Numbers of get_model_status.proto and of google.rpc.Code.
    assert (available.version, available.state, available.status.error_code) == (7, 30, 0)
    assert (ended.version, ended.state, ended.status.error_code) == (8, 50, 5)
    assert ended.status.error_message == "gone"


AVAILABLE = {"movies": {1, 2}}
CURRENT = {"movies": {"stable": 1}}


def movies(**labels: int) -> list[ModelSettings]:
    return [ModelSettings("movies", Path("m"), labels=labels)]


@pytest.mark.parametrize("allow", [False, True])
def test_labels_of_available_versions_are_given_and_others_forgotten(allow: bool) -> None:
    labels = checked_labels(movies(canary=2, stable=2), AVAILABLE, CURRENT, allow)
    assert labels == {"movies": {"canary": 2, "stable": 2}}
    assert checked_labels(movies(), AVAILABLE, CURRENT, allow) == {"movies": {}}


def test_a_label_of_a_version_that_is_not_available_is_refused() -> None:
    with pytest.raises(RequestError, match="version 3 of model movies, which is not") as caught:
        checked_labels(movies(canary=3), AVAILABLE, CURRENT, False)
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION


def test_a_new_label_may_come_early_where_that_is_allowed_but_none_in_use_moves() -> None:
    labels = checked_labels(movies(canary=3), AVAILABLE, CURRENT, True)
    assert labels == {"movies": {"canary": 3}}
    with pytest.raises(RequestError, match="version 3"):
        checked_labels(movies(stable=3), AVAILABLE, CURRENT, True)
    # A label may stay where it is when its version has gone.
    assert checked_labels(movies(stable=1), {}, CURRENT, True) == {"movies": {"stable": 1}}


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


class Recorded(Servable):
    """A servable that keeps the signatures that ran, with their rows."""

    def run(self, signature_name, inputs, output_filter=()):  # type: ignore[no-untyped-def]
        outputs = super().run(signature_name, inputs, output_filter)
        self.runs.append((signature_name, len(next(iter(inputs.values())))))
        return outputs


@pytest.fixture
def servable() -> Recorded:
    servable = Recorded("toy", 3, toy_base_path() / "3")
    servable.runs = []
    return servable


def write(folder: Path, records: list[bytes]) -> None:
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def example_log(kind: str, rows: int) -> bytes:
    examples = {"example_list": {"examples": toy_examples()[:rows]}}
    request = {"model_spec": {"name": "toy", "signature_name": kind}, "input": examples}
    log = prediction_log_pb2.PredictionLog(**{f"{kind}_log": {"request": request}})
    return log.SerializeToString()


def test_without_a_file_nothing_runs(servable: Recorded, tmp_path: Path) -> None:
    replay_warmup(servable, tmp_path)
    assert servable.runs == []


def test_logs_of_every_kind_of_request_run(servable: Recorded, tmp_path: Path) -> None:
    examples = add_request([], "toy", signature_name="predict_examples")
    examples.inputs.clear()
    examples.inputs["examples"].CopyFrom(
        tf.make_tensor_proto([one.SerializeToString() for one in toy_examples()])
    )
    write(
        tmp_path, [warmup_record(examples), example_log("classify", 1), example_log("regress", 2)]
    )
    replay_warmup(servable, tmp_path)
    assert servable.runs == [("predict_examples", 3), ("classify", 1), ("regress", 2)]


def test_a_request_that_fails_is_an_error(servable: Recorded, tmp_path: Path) -> None:
    write(tmp_path, [warmup_record(add_request([1.0], signature_name="rank"))])
    with pytest.raises(RequestError):
        replay_warmup(servable, tmp_path)


def test_other_logs_are_refused(servable: Recorded, tmp_path: Path) -> None:
    log = prediction_log_pb2.PredictionLog(session_run_log={})
    write(tmp_path, [log.SerializeToString()])
    with pytest.raises(RequestError, match="session_run_log"):
        replay_warmup(servable, tmp_path)


def test_too_many_requests_are_refused(servable: Recorded, tmp_path: Path) -> None:
    write(tmp_path, [example_log("regress", 1)] * 1001)
    with pytest.raises(RequestError, match="1000"):
        replay_warmup(servable, tmp_path)
    assert len(servable.runs) == 1000


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-7], "record 2: the record is cut off"),
        (lambda content: content[: len(content) // 2 + 5], "record 2: the record is cut off"),
        (lambda content: content[:14] + b"?" + content[15:], "record 1: the checksum of its data"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_the_record(
    servable: Recorded, tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    write(tmp_path, [example_log("regress", 1)] * 2)
    path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(tf.errors.DataLossError, match=f"{path}: {reason}"):
        replay_warmup(servable, tmp_path)
