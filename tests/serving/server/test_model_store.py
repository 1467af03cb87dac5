from __future__ import annotations

import gc
import threading
import weakref
from pathlib import Path

import grpc
import pytest

from configs.command_line import CommandError
from serving.protocol.messages import model_pb2
from serving.server.errors import RequestError
from serving.server.model_store import ModelStore
from serving.server.server_files import ModelSettings, VersionPolicy
from tests.serving.server.numbered_model import put_numbered_model
from tests.waiting import LONGEST_SECONDS


def settings(base: Path, policy: str = "latest", name: str = "toy", **labels: int) -> ModelSettings:
    return ModelSettings(name, base, VersionPolicy.parse(policy), labels)


def started(*models: ModelSettings, **options: bool) -> ModelStore:
    store = ModelStore(models, **options)
    store.start()
    return store


def found(store: ModelStore, name: str = "toy", **choice: object) -> int:
    return store.find(model_pb2.ModelSpec(name=name, **choice)).version


def states(store: ModelStore, name: str = "toy", **choice: object) -> dict[int, str]:
    specification = model_pb2.ModelSpec(name=name, **choice)
    return {status.version: status.state.name for status in store.statuses(specification)}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Versions 1, 2 and 3; tests do not change it."""
    base = tmp_path_factory.mktemp("base")
    for version in (1, 2, 3):
        put_numbered_model(base, version)
    return base


@pytest.fixture(scope="module")
def store(base: Path) -> ModelStore:
    return started(settings(base, "latest:2", stable=2))


def test_requests_find_the_highest_version_a_number_or_a_label(store: ModelStore) -> None:
    assert store.versions == {"toy": 3}
    assert found(store) == 3
    assert found(store, version={"value": 2}) == 2
    assert found(store, version_label="stable") == 2


@pytest.mark.parametrize(
    ("specification", "code", "message"),
    [
        (model_pb2.ModelSpec(), "INVALID_ARGUMENT", "ModelSpec has no name specified."),
        (
            model_pb2.ModelSpec(name="other"),
            "NOT_FOUND",
            "Servable not found for request: Latest(other)",
        ),
        (
            model_pb2.ModelSpec(name="toy", version={"value": 1}),
            "NOT_FOUND",
            "Servable not found for request: Specific(toy, 1)",
        ),
        (
            model_pb2.ModelSpec(name="toy", version={"value": 0}),
            "NOT_FOUND",
            "Servable not found for request: Specific(toy, 0)",
        ),
        (
            model_pb2.ModelSpec(name="toy", version_label="canary"),
            "INVALID_ARGUMENT",
            "Unrecognized servable version label: canary",
        ),
    ],
)
def test_requests_for_something_else_are_refused_in_tensorflow_servings_words(
    store: ModelStore, specification: model_pb2.ModelSpec, code: str, message: str
) -> None:
    with pytest.raises(RequestError) as caught:
        store.find(specification)
    assert (caught.value.code.name, caught.value.message) == (code, message)


def test_statuses_are_of_all_versions_or_one(store: ModelStore) -> None:
    assert states(store) == {3: "AVAILABLE", 2: "AVAILABLE"}
    assert states(store, version={"value": 2}) == {2: "AVAILABLE"}
    assert states(store, version_label="stable") == {2: "AVAILABLE"}
    for choice, message in (
        ({"name": "other"}, "Could not find any versions of model other"),
        ({"name": "toy", "version": {"value": 1}}, "Could not find version 1 of model toy"),
    ):
        with pytest.raises(RequestError, match=message) as caught:
            store.statuses(model_pb2.ModelSpec(**choice))
        assert caught.value.code is grpc.StatusCode.NOT_FOUND


def test_a_start_without_a_version_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=f"{tmp_path}: no version of model 'toy'"):
        started(settings(tmp_path))
    (tmp_path / "4").mkdir()
    with pytest.raises(CommandError, match=f"{tmp_path / '4'}: no saved_model.pb"):
        started(settings(tmp_path))
    with pytest.raises(CommandError, match="nowhere: no such folder"):
        started(settings(tmp_path / "nowhere"))


def test_a_start_with_a_label_of_another_version_is_an_error(base: Path) -> None:
    message = "--version-label toy:stable=1.* holds the versions 1, 2, 3, of which"
    with pytest.raises(CommandError, match=message):
        started(settings(base, stable=1))
    store = started(settings(base, stable=1), allow_labels_for_unavailable=True)
    with pytest.raises(RequestError, match=r"Specific\(toy, 1\)"):
        found(store, version_label="stable")


def test_a_poll_loads_what_is_new_and_ends_what_is_old(tmp_path: Path) -> None:
    put_numbered_model(tmp_path, 1)
    changes: list[bool] = []
    store = ModelStore([settings(tmp_path)], on_change=lambda: changes.append(store.is_ready))
    assert not store.is_ready
    store.start()
    put_numbered_model(tmp_path, 2)
    store.poll()
    assert found(store) == 2
    assert states(store) == {2: "AVAILABLE", 1: "END"}
    assert changes == [True, True]


def test_a_reload_adds_removes_and_changes_models(base: Path) -> None:
    store = started(settings(base), settings(base, name="old"))
    store.reload([settings(base, "specific:1,3", stable=3), settings(base, name="new")])
    assert store.versions == {"toy": 3, "new": 3}
    assert states(store) == {3: "AVAILABLE", 1: "AVAILABLE"}
    assert found(store, version_label="stable") == 3
    with pytest.raises(RequestError, match=r"Latest\(old\)"):
        found(store, "old")
    assert states(store, "old") == {3: "END"}


def test_labels_move_only_to_versions_that_were_available_before(base: Path) -> None:
    store = started(settings(base, stable=3))
    refused = settings(base, "all", stable=2)
    with pytest.raises(RequestError, match="label to version 2") as caught:
        store.reload([refused])
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert states(store) == {3: "AVAILABLE"}
    store.reload([settings(base, "all", stable=3)])
    store.reload([refused])
    assert found(store, version_label="stable") == 2


def test_a_base_path_does_not_change_silently(base: Path, tmp_path: Path) -> None:
    put_numbered_model(tmp_path, 7)
    store = started(settings(base))
    with pytest.raises(RequestError, match="base path.*remove the model first") as caught:
        store.reload([settings(tmp_path)])
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT
    assert store.versions == {"toy": 3}
    store.reload([])
    store.reload([settings(tmp_path)])
    assert store.versions == {"toy": 7}


def test_a_reload_tells_which_models_serve_nothing(base: Path, tmp_path: Path) -> None:
    store = started(settings(base))
    with pytest.raises(RequestError, match=r"1 model\(s\) did not become.*new: ") as caught:
        store.reload([settings(base), settings(tmp_path, name="new")])
    assert caught.value.code is grpc.StatusCode.UNKNOWN
    assert store.versions == {"toy": 3}
    put_numbered_model(tmp_path, 1)
    store.poll()
    assert store.versions == {"toy": 3, "new": 1}


def test_a_reload_refuses_a_name_given_twice(base: Path) -> None:
    store = started(settings(base))
    with pytest.raises(RequestError, match="toy multiple times"):
        store.reload([settings(base), settings(base)])
    assert store.versions == {"toy": 3}


def test_a_model_that_is_told_to_go_is_not_configured_any_more(base: Path) -> None:
    store = started(settings(base))
    assert store.is_configured("toy")
    store.reload([settings(base, name="new")])
    assert store.is_configured("new")
    assert not store.is_configured("toy")


@pytest.mark.parametrize("first", ["poll", "reload"])
def test_changes_are_told_in_the_order_in_which_they_happen(
    base: Path, tmp_path: Path, first: str
) -> None:
    store = started(settings(base))
    told: list[bool] = []
    telling, go_on = threading.Event(), threading.Event()

    def tell() -> None:
        is_ready = store.is_ready
        if not telling.is_set():
            telling.set()
            go_on.wait(LONGEST_SECONDS)
        told.append(is_ready)

    def reload() -> None:
        with pytest.raises(RequestError):
            store.reload([settings(base), settings(tmp_path, name="new")])

    store.on_change = tell
    threads = [threading.Thread(target=store.poll), threading.Thread(target=reload)]
    if first == "reload":
        threads.reverse()
    threads[0].start()
    assert telling.wait(LONGEST_SECONDS)
    if first == "reload":
        put_numbered_model(tmp_path, 1)  # which the poll finds
    threads[1].start()
    threads[1].join(0.3)  # Time to overtake, for a store that would let it; ours never does.
    go_on.set()
    for thread in threads:
        thread.join()
    assert told == ([True, False] if first == "poll" else [False, True])


def test_a_version_in_use_at_a_reload_is_freed_by_the_next_look_not_by_requests(
    tmp_path: Path,
) -> None:
    put_numbered_model(tmp_path, 1)
    put_numbered_model(tmp_path, 2)
    store = started(settings(tmp_path, "specific:1"))
    request = store.find(model_pb2.ModelSpec(name="toy"))
    session = weakref.ref(request.engine)
    store.reload([settings(tmp_path)])
    assert states(store) == {2: "AVAILABLE", 1: "UNLOADING"}
    del request
    assert states(store) == {2: "AVAILABLE", 1: "END"}
    gc.collect()
    assert session() is not None
    store.end_unloading()
    assert session() is None
