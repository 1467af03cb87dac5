"""What tensorflow_model_server reads: its flags, models.config and monitoring.config."""

from __future__ import annotations

import json

from serving.deploy.batching import batching_config
from serving.deploy.settings import Deployment

CONFIG_FOLDER = "/etc/tensorflow-serving"
"""Folder of the configuration files, in the server.

It is mounted whole: a file mounted alone would stay what it was when another takes its place.
"""

PROGRAM = "/usr/bin/tensorflow_model_server"


def server_flags(deployment: Deployment) -> list[str]:
    """The server's flags, in the order in which its help lists them."""
    server, resources = deployment.server, deployment.resources
    flags: dict[str, object] = {
        "port": server.grpc_port,
        "rest_api_port": server.rest_port,
        "rest_api_num_threads": server.rest_num_threads or 4 * resources.threads,
        "rest_api_timeout_in_ms": server.rest_timeout_in_ms,
    }
    if deployment.batching.enabled:
        flags["enable_batching"] = "true"
        flags["batching_parameters_file"] = f"{CONFIG_FOLDER}/batching.config"
    flags |= {
        # Labels may so be given to versions that load at the start.
        "allow_version_labels_for_unavailable_models": "true",
        "model_config_file": f"{CONFIG_FOLDER}/models.config",
        "model_config_file_poll_wait_seconds": server.model_config_file_poll_wait_seconds,
        # Without threads of their own, loading and unloading hold up requests.
        "num_load_threads": 1,
        "num_unload_threads": 1,
        "file_system_poll_wait_seconds": server.file_system_poll_wait_seconds,
        **thread_flags(deployment),
        "grpc_channel_arguments": f"grpc.max_connection_age_ms={server.grpc_max_connection_age_ms}",
        "grpc_max_threads": server.grpc_max_threads or 4 * resources.threads,
        "enable_model_warmup": "true",
        "monitoring_config_file": f"{CONFIG_FOLDER}/monitoring.config",
    }
    return [f"--{name}={value}" for name, value in flags.items()]


def thread_flags(deployment: Deployment) -> dict[str, object]:
    """Flags of TensorFlow's thread pools, by name."""
    server, threads = deployment.server, deployment.resources.threads
    return {
        "tensorflow_intra_op_parallelism": server.intra_op_threads or threads,
        "tensorflow_inter_op_parallelism": server.inter_op_threads or threads,
    }


def readiness_path(deployment: Deployment) -> str:
    """Path that answers 200 once the stable version serves, and an error before.

    The model's status would answer 200 while the version still loads; its metadata needs it loaded.
    """
    return f"/v1/models/{deployment.model_name}/labels/stable/metadata"


def status_path(deployment: Deployment) -> str:
    """Path of the model's status, which answers 200 whatever state its versions are in."""
    return f"/v1/models/{deployment.model_name}"


_MODELS_HEADER = """\
# The served versions and their labels: tensorflow.serving.ModelServerConfig as text.
# The server reads this file again while it runs. It refuses the whole file when a label in use
# moves to a version that is not loaded yet: load a version first, label it when it is AVAILABLE.
"""


def models_config(deployment: Deployment) -> str:
    """The file for `--model_config_file`."""
    versions = [f"        versions: {version}" for version in deployment.loaded_versions]
    labels = [
        f'    version_labels {{ key: "{label}" value: {version} }}'
        for label, version in deployment.labels.items()
    ]
    lines = [
        "model_config_list {",
        "  config {",
        f"    name: {json.dumps(deployment.model_name)}",
        f"    base_path: {json.dumps(deployment.storage.path)}",
        '    model_platform: "tensorflow"',
        "    model_version_policy {",
        "      specific {",
        *versions,
        "      }",
        "    }",
        *labels,
        "  }",
        "}",
    ]
    return _MODELS_HEADER + "\n".join(lines) + "\n"


def config_files(deployment: Deployment) -> dict[str, str]:
    """The files of `CONFIG_FOLDER`, by name."""
    return {
        "models.config": models_config(deployment),
        **start_files(deployment),
    }


def start_files(deployment: Deployment) -> dict[str, str]:
    """The files that the server reads only when it starts, by name."""
    return {
        "batching.config": batching_config(deployment.batching, deployment.resources.threads),
        "monitoring.config": monitoring_config(deployment),
    }


def monitoring_config(deployment: Deployment) -> str:
    """The file for `--monitoring_config_file`."""
    return f"""\
# Metrics for Prometheus, on the REST port: tensorflow.serving.MonitoringConfig as text.
prometheus_config {{
  enable: true
  path: {json.dumps(deployment.monitoring.path)}
}}
"""
