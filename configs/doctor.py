"""Whether this machine can do the work: what a newcomer would otherwise find out step by step."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from configs.command_line import set_up_tensorflow
from configs.loading import ConfigurationError
from configs.prompting import Generation

State = Literal["ok", "warning", "error"]

_OLDEST_PYTHON = (3, 11)
_LEAST_MEMORY = 4e9
_LEAST_DISK = 5e9
_ENDPOINT_SECONDS = 5.0
_MOST_BYTES = 16 << 20
_LIBRARIES = ("tensorflow-recommenders", "apache-beam", "onnxruntime", "optuna", "grpcio")
_INSTALL = (
    "run 'make setup' and use .venv/bin/python; without the repository, pip install 'reki[all]'"
)


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    Attributes:
      check: its name.
      state: whether the work can be done.
      found: what is there.
      fix: what to do; empty where nothing need be done.
    """

    check: str
    state: State
    found: str
    fix: str = ""


def examine(
    folder: Path, ports: Sequence[int], generation: Generation | None = None
) -> Iterator[CheckResult]:
    """Looks at Python, TensorFlow, GPU, memory, disk, ports and the endpoint of an LLM.

    Args:
      folder: where results will lie.
      ports: that a local server will listen on.
      generation: names the endpoint, if its client is one of an endpoint; None asks none.
    """
    yield _python()
    tensorflow = _tensorflow()
    yield tensorflow
    yield _libraries()
    if tensorflow.state == "ok":
        yield _devices()
    yield _memory()
    yield _disk(folder)
    yield from map(_port, ports)
    if generation is not None and generation.client == "openai":
        yield _endpoint(generation)


def _python() -> CheckResult:
    details = f"{sys.version.split()[0]} at {sys.executable}"
    if sys.version_info < _OLDEST_PYTHON:
        return CheckResult("Python", "error", details, f"Python 3.11 is needed; {_INSTALL}")
    return CheckResult("Python", "ok", details)


def _tensorflow() -> CheckResult:
    try:
        set_up_tensorflow()
        import tensorflow as tf
    except ImportError as error:
        return CheckResult("TensorFlow", "error", f"cannot be imported ({error})", _INSTALL)
    keras = os.environ.get("TF_USE_LEGACY_KERAS")
    version = getattr(tf.keras, "__version__", None) or metadata.version("tf_keras")
    details = f"{tf.__version__}, Keras {version}, TF_USE_LEGACY_KERAS={keras}"
    if not version.startswith("2."):
        fix = "set TF_USE_LEGACY_KERAS=1: TensorFlow Recommenders needs Keras 2"
        return CheckResult("TensorFlow", "error", details, fix)
    return CheckResult("TensorFlow", "ok", details)


def _libraries() -> CheckResult:
    installed, missing = [], []
    for name in _LIBRARIES:
        try:
            installed.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return CheckResult("libraries", "error", f"not installed: {', '.join(missing)}", _INSTALL)
    return CheckResult("libraries", "ok", ", ".join(installed))


def _devices() -> CheckResult:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    cores = len(os.sched_getaffinity(0))
    if not gpus:
        return CheckResult("devices", "ok", f"{cores} cores, no GPU: none is needed")
    return CheckResult("devices", "ok", f"{cores} cores, {len(gpus)} GPUs")


def _memory() -> CheckResult:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                available = int(line.split()[1]) * 1024
    details = f"{available / 1e9:.1f} GB available"
    if available < _LEAST_MEMORY:
        fix = "the bundled sample takes about 4 GB; close other programs"
        return CheckResult("memory", "warning", details, fix)
    return CheckResult("memory", "ok", details)


def _disk(folder: Path) -> CheckResult:
    existing = next(
        existing
        for existing in (folder.absolute(), *folder.absolute().parents)
        if existing.exists()
    )
    free = shutil.disk_usage(existing).free
    details = f"{free / 1e9:.1f} GB free at {existing}"
    if not os.access(existing, os.W_OK):
        return CheckResult(
            "disk", "error", f"{existing} cannot be written", "name another work_dir"
        )
    if free < _LEAST_DISK:
        return CheckResult(
            "disk", "warning", details, "packages and the demo take about 5 GB; make room"
        )
    return CheckResult("disk", "ok", details)


def _port(port: int) -> CheckResult:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            fix = "serve on another one: --grpc-port and --rest-port, 0 picks a free one"
            return CheckResult(f"port {port}", "warning", str(error.strerror), fix)
    return CheckResult(f"port {port}", "ok", "free")


def _endpoint(generation: Generation) -> CheckResult:
    """Asks an OpenAI-compatible endpoint for its models, which costs nothing.

    It is called as `generate` calls it, so that what is wrong with address or key is found, and
    neither shows the key nor sends it elsewhere.
    """
    try:
        from configs.openai_connection import (
            OPENAI_URL,
            ApiKey,
            CallFailed,
            OpenAIConnection,
            require_address,
        )
    except ImportError as error:
        return CheckResult("endpoint", "error", f"cannot be asked ({error})", _INSTALL)
    variable = generation.api_key_variable
    try:
        require_address("generation", generation.base_url, variable)
    except ConfigurationError as error:
        found, _, fix = str(error).partition("; ")
        return CheckResult("endpoint", "error", found, fix)
    base = (generation.base_url or OPENAI_URL).rstrip("/")
    key = ApiKey.from_environment("generation", variable)
    try:
        connection = OpenAIConnection(base, key, _ENDPOINT_SECONDS, _MOST_BYTES)
    except (ImportError, ValueError) as error:
        fix = "look at the environment's variables for proxies, such as ALL_PROXY"
        return CheckResult("endpoint", "error", f"{base}: cannot be asked ({error})", fix)
    try:
        models = connection.call(
            lambda client: client.models.with_raw_response.list(),
            lambda document: [str(model["id"]) for model in document["data"]],
        )
    except CallFailed as failure:
        fix = "look at generation.base_url, at the server and at the network"
        if failure.reason in ("http_401", "http_403"):
            fix = f"set the environment variable {variable} to a valid key"
        return CheckResult("endpoint", "error", f"{base}: no list of models ({failure})", fix)
    finally:
        connection.close()
    if generation.model and generation.model not in models:
        fix = f"set generation.model to one of {', '.join(models[:5]) or 'its models'}"
        return CheckResult("endpoint", "warning", f"{base} has no model {generation.model}", fix)
    return CheckResult("endpoint", "ok", f"{base}, {len(models)} models")
