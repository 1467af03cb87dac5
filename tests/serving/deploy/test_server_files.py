from __future__ import annotations

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from serving.deploy.rendering import render
from serving.deploy.settings import Batching, Deployment, Resources
from tests.serving.deploy.deployments import DEPLOYMENTS, FULL, PLAIN
from tests.serving.deploy.protos import parse_batching, parse_monitoring
from tests.serving.deploy.schemas import documents_of

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


def server_files(deployment: Deployment) -> dict[str, str]:
    return {
        path.removeprefix("server/"): text
        for path, text in render(deployment).items()
        if path.startswith("server/")
    }


def arguments_of(deployment: Deployment) -> list[str]:
    compose = yaml.safe_load(render(deployment)["compose.yaml"])
    return compose["services"]["serving"]["command"]


def flags_of(deployment: Deployment) -> dict[str, str]:
    flags: dict[str, str] = {}
    for flag in arguments_of(deployment):
        name, _, value = flag.removeprefix("--").partition("=")
        assert name not in flags
        flags[name] = value
    return flags


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_models_config_is_read_as_model_server_config(deployment: Deployment) -> None:
    config = text_format.Parse(
        server_files(deployment)["models.config"], model_server_config_pb2.ModelServerConfig()
    )
    (model,) = config.model_config_list.config
    assert model.name == deployment.model_name
    assert model.base_path == deployment.storage.path
    assert model.model_platform == "tensorflow"
    assert tuple(model.model_version_policy.specific.versions) == deployment.loaded_versions
    assert dict(model.version_labels) == deployment.labels


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_monitoring_config_is_read_as_monitoring_config(deployment: Deployment) -> None:
    prometheus = parse_monitoring(server_files(deployment)["monitoring.config"]).prometheus_config
    assert prometheus.enable
    assert prometheus.path == deployment.monitoring.path


@pytest.mark.parametrize("deployment", DEPLOYMENTS.values(), ids=DEPLOYMENTS)
def test_kubernetes_and_kserve_start_the_server_with_the_same_flags(
    deployment: Deployment,
) -> None:
    (workload,) = documents_of(render(deployment)["kubernetes/deployment.yaml"])
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    arguments = arguments_of(deployment)
    assert container["args"] == arguments
    (service,) = documents_of(render(deployment)["kserve/inferenceservice.yaml"])
    threads = service["spec"]["predictor"]["model"]["args"]
    assert threads == [flag for flag in arguments if "_parallelism=" in flag]
    assert len(threads) == 2


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


@pytest.mark.parametrize(("cpu", "threads"), [(0.5, 1), (1.0, 1), (1.5, 2), (8.0, 8)])
def test_threads_are_the_cpus_rounded_up(cpu: float, threads: int) -> None:
    flags = flags_of(
        Deployment.model_validate({"model_name": "m", "stable": 1, "resources": {"cpu": cpu}})
    )
    assert flags["tensorflow_intra_op_parallelism"] == str(threads)
    assert flags["tensorflow_inter_op_parallelism"] == str(threads)
    assert flags["rest_api_num_threads"] == flags["grpc_max_threads"] == str(4 * threads)


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
    assert named <= set(server_files(deployment))


def test_labels_may_be_given_to_versions_that_load_at_the_start() -> None:
    assert flags_of(PLAIN)["allow_version_labels_for_unavailable_models"] == "true"


def batching_config(batching: Batching, cpu: float = 2) -> str:
    deployment = Deployment(
        model_name="movies", stable=1, batching=batching, resources=Resources(cpu=cpu)
    )
    return server_files(deployment)["batching.config"]


def test_batching_config_is_read_as_batching_parameters() -> None:
    settings = Batching(
        max_batch_size=128,
        max_execution_batch_size=32,
        batch_timeout_micros=0,
        num_batch_threads=3,
        max_enqueued_batches=7,
    )
    parameters = parse_batching(batching_config(settings))
    expected = (
        "max_batch_size { value: 128 } enable_large_batch_splitting { value: true } "
        "max_execution_batch_size { value: 32 } batch_timeout_micros { value: 0 } "
        "num_batch_threads { value: 3 } max_enqueued_batches { value: 7 } "
        'thread_pool_name { value: "ranking_batches" }'
    )
    assert parameters == parse_batching(expected)


def test_allowed_sizes_and_padding_are_written() -> None:
    settings = Batching(
        max_batch_size=64,
        max_execution_batch_size=64,
        allowed_batch_sizes=(8, 64),
        pad_variable_length_inputs=True,
    )
    text = batching_config(settings)
    parameters = parse_batching(text)
    assert list(parameters.allowed_batch_sizes) == [8, 64]
    assert parameters.pad_variable_length_inputs
    assert "CAUTION" in text


def test_threads_are_the_cpus_when_left_out() -> None:
    parameters = parse_batching(batching_config(Batching(), cpu=5))
    assert parameters.num_batch_threads.value == 5


def test_a_parameter_that_does_not_exist_would_be_noticed() -> None:
    with pytest.raises(text_format.ParseError, match="max_batch_sise"):
        parse_batching("max_batch_sise { value: 1 }")


def test_every_parameter_is_explained_above_its_line() -> None:
    lines = batching_config(Batching()).splitlines()
    for index, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert lines[index - 1].startswith("# "), line
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(("enabled", "state"), [(True, "In use."), (False, "Not in use:")])
def test_the_file_says_whether_it_is_used(enabled: bool, state: str) -> None:
    assert state in batching_config(Batching(enabled=enabled)).splitlines()[0]


@pytest.mark.parametrize(
    ("switched_on", "advice"), [(False, "# Must stay false."), (True, "# CAUTION: switched on.")]
)
def test_the_file_says_what_the_servers_padding_does(switched_on: bool, advice: str) -> None:
    settings = Batching(pad_variable_length_inputs=switched_on)
    *_, last_paragraph = batching_config(settings).split("\n\n")
    assert last_paragraph.startswith(advice)
    assert "repeat" in last_paragraph
    assert last_paragraph.endswith(f"pad_variable_length_inputs: {str(switched_on).lower()}\n")
