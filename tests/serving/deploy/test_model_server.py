from __future__ import annotations

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.deploy.model_server import (
    config_files,
    models_config,
    monitoring_config,
    readiness_path,
    server_flags,
    start_files,
    status_path,
)
from serving.deploy.settings import Deployment
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, IN_A_BUCKET, PLAIN
from tests.serving.deploy.protos import parse_batching, parse_monitoring

# The flags of model_servers/main.cc that a deployment may want.
_FLAGS_OF_THE_SERVER = {
    "port", "grpc_socket_path", "rest_api_port", "rest_api_num_threads", "rest_api_timeout_in_ms",
    "rest_api_enable_cors_support", "enable_batching", "batching_parameters_file",
    "allow_version_labels_for_unavailable_models", "enable_per_model_batching_parameters",
    "model_config_file", "model_config_file_poll_wait_seconds", "model_name", "model_base_path",
    "num_load_threads", "num_unload_threads", "max_num_load_retries", "load_retry_interval_micros",
    "file_system_poll_wait_seconds", "flush_filesystem_caches", "tensorflow_session_parallelism",
    "tensorflow_session_config_file", "tensorflow_intra_op_parallelism",
    "tensorflow_inter_op_parallelism", "ssl_config_file", "platform_config_file",
    "saved_model_tags", "grpc_channel_arguments", "grpc_max_threads", "enable_model_warmup",
    "num_request_iterations_for_warmup", "monitoring_config_file",
    "remove_unused_fields_from_bundle_metagraph", "xla_cpu_compilation_enabled",
    "enable_grpc_healthcheck_service",
}  # fmt: skip


def flags_of(deployment: Deployment) -> dict[str, str]:
    flags = {}
    for flag in server_flags(deployment):
        name, _, value = flag.removeprefix("--").partition("=")
        assert name not in flags
        flags[name] = value
    return flags


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_models_config_is_read_as_model_server_config(deployment: Deployment) -> None:
    config = text_format.Parse(
        models_config(deployment), model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert model.name == deployment.model_name
    assert model.base_path == deployment.storage.path
    assert model.model_platform == "tensorflow"
    assert tuple(model.model_version_policy.specific.versions) == deployment.loaded_versions
    assert dict(model.version_labels) == deployment.labels


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_monitoring_config_is_read_as_monitoring_config(deployment: Deployment) -> None:
    prometheus = parse_monitoring(monitoring_config(deployment)).prometheus_config  # type: ignore[attr-defined]
    assert prometheus.enable
    assert prometheus.path == deployment.monitoring.path


def test_files_that_the_server_reads_when_it_starts() -> None:
    files = config_files(PLAIN)
    assert set(files) == {"models.config", "batching.config", "monitoring.config"}
    assert set(start_files(PLAIN)) == {"batching.config", "monitoring.config"}
    assert start_files(PLAIN).items() <= files.items()
    parse_batching(files["batching.config"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_flags_exist_in_the_server(deployment: Deployment) -> None:
    assert flags_of(deployment).keys() <= _FLAGS_OF_THE_SERVER


def test_flags_follow_the_settings() -> None:
    flags = flags_of(FULL)
    assert (flags["port"], flags["rest_api_port"]) == ("9000", "9001")
    assert flags["tensorflow_intra_op_parallelism"] == "1"
    # 1.5 CPUs are two threads.
    assert flags["tensorflow_inter_op_parallelism"] == "2"
    assert flags["rest_api_num_threads"] == flags["grpc_max_threads"] == "8"
    assert flags["grpc_channel_arguments"] == "grpc.max_connection_age_ms=300000"


def test_the_server_refuses_batching_parameters_without_batching() -> None:
    assert {"enable_batching", "batching_parameters_file"}.isdisjoint(flags_of(PLAIN))
    flags = flags_of(FULL)
    assert flags["enable_batching"] == "true"
    assert flags["batching_parameters_file"].endswith("/batching.config")


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_files_named_in_flags_are_rendered(deployment: Deployment) -> None:
    named = {
        value.rpartition("/")[2]
        for name, value in flags_of(deployment).items()
        if name.endswith("_file")
    }
    assert named <= set(config_files(deployment))


def test_labels_may_be_given_to_versions_that_load_at_the_start() -> None:
    assert flags_of(PLAIN)["allow_version_labels_for_unavailable_models"] == "true"


def test_paths_of_the_probes() -> None:
    assert readiness_path(IN_A_BUCKET) == "/v1/models/movies/labels/stable/metadata"
    assert status_path(IN_A_BUCKET) == "/v1/models/movies"
