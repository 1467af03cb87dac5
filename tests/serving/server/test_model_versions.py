from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import cast

import grpc
import pytest

from serving.server.errors import RequestError
from serving.server.model_settings import ModelSettings, VersionPolicy
from serving.server.model_versions import ModelVersions, failure_text, fingerprint
from serving.server.servable import Servable


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
    empty = fingerprint(tmp_path)
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_bytes(b"1")
    one = fingerprint(tmp_path)
    assert one == fingerprint(tmp_path) != empty
    (tmp_path / "variables" / "data").write_bytes(b"12")
    assert fingerprint(tmp_path) != one
    assert fingerprint(tmp_path / "nowhere") == frozenset()
