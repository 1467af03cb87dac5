from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor

from configs.loading import ConfigurationError
from serving.deploy.rendering import render
from serving.deploy.settings import Batching, Deployment
from serving.protocol import server_files_pb2
from serving.protocol.messages import model_server_config_pb2
from serving.protocol.server_files_pb2 import BatchingParameters, SSLConfig
from serving.server.errors import RequestError
from serving.server.server_files import (
    ModelSettings,
    VersionPolicy,
    check_base_paths,
    check_batching,
    check_batching_file,
    read_models_config,
    read_text_message,
    settings_by_name,
    settings_of_base_paths,
    settings_of_message,
    watch_models_config,
)
from tests.serving.deploy.deployments import DEPLOYMENTS
from tests.waiting import wait_until

_SCALARS = {
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_STRING: "string",
}


def test_fields_are_read_with_their_wrappers(tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    path.write_text("max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 8")
    message = read_text_message(path, BatchingParameters)
    assert message.max_batch_size.value == 8
    assert list(message.allowed_batch_sizes) == [2, 8]
    assert not message.HasField("batch_timeout_micros")


def test_numbers_of_fields_are_tensorflow_servings(tmp_path: Path) -> None:
    path = tmp_path / "ssl.config"
    path.write_text('server_key: "k" server_cert: "c" custom_ca: "a" client_verify: true')
    # Field 1 to 4: three texts of one byte, and true.
    assert read_text_message(path, SSLConfig).SerializeToString(deterministic=True) == (
        b"\x0a\x01k\x12\x01c\x1a\x01a\x20\x01"
    )


def test_a_mistake_is_placed_and_never_quoted(tmp_path: Path) -> None:
    path = tmp_path / "ssl.config"
    path.write_text('server_cert: "c"\nserver_key: SECRET')
    with pytest.raises(
        ConfigurationError, match="ssl.config: line 2, column .*server_key"
    ) as caught:
        read_text_message(path, SSLConfig)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_files_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing: cannot be read"):
        read_text_message(tmp_path / "nothing", SSLConfig)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="bytes: not a text file"):
        read_text_message(tmp_path / "bytes", SSLConfig)


def test_the_compiled_messages_say_what_the_proto_file_says(repository_root: Path) -> None:
    """Every field, its number and its type: a change of the file alone fails."""
    source = (repository_root / server_files_pb2.DESCRIPTOR.name).read_text()
    declared = {
        message: re.findall(r"^ +(repeated )?([\w.]+) (\w+) = (\d+);$", body, re.MULTILINE)
        for message, body in re.findall(r"^message (\w+) {\n(.*?)^}", source, re.M | re.S)
    }
    compiled = {
        message.name: [
            (
                "repeated " if field.is_repeated else "",
                field.message_type.full_name if field.message_type else _SCALARS[field.type],
                field.name,
                str(field.number),
            )
            for field in message.fields
        ]
        for message in server_files_pb2.DESCRIPTOR.message_types_by_name.values()
    }
    assert declared == compiled
    assert server_files_pb2.DESCRIPTOR.package == "tensorflow.serving"
    assert [len(fields) for fields in declared.values()] == [9, 4]


def test_the_batching_file_of_a_deployment_and_an_empty_one_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "batching.config"
    settings = Batching(
        max_batch_size=64, max_execution_batch_size=64, allowed_batch_sizes=(16, 64)
    )
    deployment = Deployment(model_name="movies", stable=1, batching=settings)
    path.write_text(render(deployment)["server/batching.config"])
    check_batching_file(path)
    path.write_text("")
    check_batching_file(path)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"max_batch_size": 0}, "max_batch_size must be at least 1"),
        ({"batch_timeout_micros": -1}, "batch_timeout_micros must be at least 0"),
        ({"num_batch_threads": 0}, "num_batch_threads must be at least 1"),
        ({"max_enqueued_batches": 0}, "max_enqueued_batches must be at least 1"),
        ({"max_execution_batch_size": 0}, "max_execution_batch_size must be at least 1"),
        ({"max_batch_size": 4, "allowed_batch_sizes": (4, 2)}, "must ascend"),
        ({"max_batch_size": 4, "allowed_batch_sizes": (0, 4)}, "must ascend"),
        ({"max_batch_size": 4, "allowed_batch_sizes": (1, 2)}, "batch that runs, 4. Received: 2"),
        ({"allowed_batch_sizes": (1, 2)}, "batch that runs, 1000. Received: 2"),
        (
            {
                "max_batch_size": 4,
                "max_execution_batch_size": 5,
                "enable_large_batch_splitting": True,
            },
            "max_execution_batch_size must not exceed max_batch_size. Received: 5 and 4",
        ),
    ],
)
def test_batching_that_tensorflow_serving_refuses_is_refused_by_name(
    values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        check_batching(values)


def test_the_execution_size_counts_only_where_requests_are_split() -> None:
    sizes = {"max_batch_size": 8, "max_execution_batch_size": 4}
    check_batching({**sizes, "allowed_batch_sizes": (2, 8)})
    check_batching({**sizes, "allowed_batch_sizes": (2, 4), "enable_large_batch_splitting": True})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_batch_size { value: 0 }", "batching.config: max_batch_size must be at least 1"),
        ("max_batch_size { value: 4 } allowed_batch_sizes: 2", "batching.config: the last of"),
        (
            "max_batch_sise { value: 4 }",
            "batching.config: line 1, column 1: not tensorflow.serving",
        ),
    ],
)
def test_a_wrong_batching_file_is_named(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "batching.config"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=reason):
        check_batching_file(path)


FOUND = [2, 10, 1, 7]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("latest", [10]),
        ("latest:1", [10]),
        ("latest:3", [10, 7, 2]),
        ("latest:9", [10, 7, 2, 1]),
        ("all", [10, 7, 2, 1]),
        ("specific:7", [7]),
        ("specific:1,3,10", [10, 1]),
        ("specific:3", []),
    ],
)
def test_policies_choose_the_highest_first(text: str, wanted: list[int]) -> None:
    assert VersionPolicy.parse(text).wanted(FOUND) == wanted


def test_no_version_found_is_none_wanted() -> None:
    for text in ("latest", "all", "specific:1"):
        assert VersionPolicy.parse(text).wanted([]) == []


@pytest.mark.parametrize(
    "text", ["", "latest:0", "latest:-1", "latest:", "newest", "specific", "specific:1,", "all:2"]
)
def test_other_forms_are_refused_with_the_forms(text: str) -> None:
    with pytest.raises(ValueError, match="latest:N.*specific:V"):
        VersionPolicy.parse(text)


def test_base_paths_ask_for_the_latest_version_without_labels() -> None:
    assert settings_of_base_paths({"a": "x/y", "b": Path("z")}) == [
        ModelSettings("a", Path("x/y"), VersionPolicy(latest=1), {}),
        ModelSettings("b", Path("z"), VersionPolicy(latest=1), {}),
    ]


def test_a_name_given_twice_is_refused() -> None:
    a, b = ModelSettings("a", Path("x")), ModelSettings("b", Path("x"))
    assert settings_by_name([a, b]) == {"a": a, "b": b}
    with pytest.raises(ValueError, match="model b multiple times"):
        settings_by_name([a, b, ModelSettings("b", Path("y"))])


def test_a_base_path_may_not_change_but_models_may_come_and_go() -> None:
    a, b = ModelSettings("a", Path("x")), ModelSettings("b", Path("y"))
    check_base_paths([a], {"b": b})
    check_base_paths([a], {"a": a, "b": b})
    with pytest.raises(ValueError, match="model b it was y and z is requested"):
        check_base_paths([a, b], {"b": ModelSettings("b", Path("z"))})


CONFIG = """
# A comment.
model_config_list {
  config {
    name: "movies"
    base_path: "/exports/movies"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 2 versions: 5 } }
    version_labels { key: "stable" value: 2 }
    version_labels { key: "canary" value: 5 }
  }
  config { name: "books" base_path: "b" model_platform: "tensorflow"
           model_version_policy { latest { num_versions: 3 } } }
  config { name: "songs" base_path: "s" model_platform: "tensorflow"
           model_version_policy { all {} } }
  config { name: "plays" base_path: "p" model_type: TENSORFLOW }
}
"""


def test_a_models_config_is_read(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text(CONFIG)
    movies, books, songs, plays = read_models_config(path)
    assert movies == ModelSettings(
        "movies",
        Path("/exports/movies"),
        VersionPolicy(specific=frozenset({2, 5})),
        {"stable": 2, "canary": 5},
    )
    assert books.policy == VersionPolicy(latest=3)
    assert songs.policy == VersionPolicy(latest=None)
    assert plays == ModelSettings("plays", Path("p"), VersionPolicy(latest=1), {})


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_a_file_of_a_deployment_is_read(tmp_path: Path, deployment: Deployment) -> None:
    path = tmp_path / "models.config"
    path.write_text(render(deployment)["server/models.config"])
    (model,) = read_models_config(path)
    assert (model.name, model.base_path) == (deployment.model_name, Path(deployment.storage.path))
    assert model.policy.specific == set(deployment.loaded_versions)
    assert model.labels == deployment.labels


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("model_config_list { config { nme: 'a' } }", "nme"),
        ("", "only a model_config_list"),
        ("model_config_list { config { base_path: 'a' } }", "no name"),
        ("model_config_list { config { name: 'a' } }", "model a has no base_path"),
        (
            "model_config_list { config { name: 'a' base_path: 'b' } }",
            'model_platform: "tensorflow"',
        ),
        (
            "model_config_list { config { name: 'a' base_path: 'b' model_platform: 'torch' } }",
            'Received: "torch"',
        ),
        (
            "model_config_list { config { name: 'a' base_path: 'b' model_platform: 'tensorflow' "
            "model_version_policy { specific {} } } }",
            "at least one version",
        ),
        (
            "model_config_list {"
            + 2 * "config { name: 'a' base_path: 'b' model_platform: 'tensorflow' }"
            + "}",
            "model a multiple times",
        ),
        (
            "model_config_list { config { name: 'a' base_path: 'b\\000c' "
            "model_platform: 'tensorflow' } }",
            r"model a: base_path is no path \(embedded null byte\): 'b\\x00c'",
        ),
        (
            f"model_config_list {{ config {{ name: 'a' base_path: '/{'c' * 300}' "
            "model_platform: 'tensorflow' } }",
            "model a: base_path is too long: '/ccc",
        ),
        (
            f"model_config_list {{ config {{ name: 'a' base_path: '{'/c' * 3000}' "
            "model_platform: 'tensorflow' } }",
            "model a: base_path is too long: '/c/c",
        ),
    ],
)
def test_wrong_files_are_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "models.config"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=f"models.config: .*{reason}"):
        read_models_config(path)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nothing.config: cannot be read"):
        read_models_config(tmp_path / "nothing.config")


def test_a_list_may_be_empty() -> None:
    """Which removes every model when it is reloaded."""
    config = model_server_config_pb2.ModelServerConfig(model_config_list={})
    assert settings_of_message(config) == []


WATCHED_CONFIG = (
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

    path.write_text(WATCHED_CONFIG.format("one"))
    with caplog.at_level(logging.WARNING):
        watching = watch_models_config(path, reload, 0.01)
        try:
            wait_until(lambda: "one" in seen)
            path.write_text("wrong")
            wait_until(lambda: bool(caplog.records))
            path.write_text(WATCHED_CONFIG.format("refused"))
            wait_until(lambda: seen.count("refused") >= 3)
            path.write_text(WATCHED_CONFIG.format("two"))
            wait_until(lambda: "two" in seen)
        finally:
            watching.stop()
    messages = [record.getMessage() for record in caplog.records]
    assert any(f"{path}: not a models.config" in message for message in messages)
    assert messages.count(f"{path}: by design") == 1
