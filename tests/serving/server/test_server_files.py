from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor

from configs.loading import ConfigurationError
from serving.deploy.rendering import render
from serving.deploy.settings import Batching, Deployment
from serving.protocol import server_files_pb2
from serving.protocol.server_files_pb2 import BatchingParameters, SSLConfig
from serving.server.server_files import check_batching, check_batching_file, read_text_message

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
