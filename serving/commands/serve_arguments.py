"""The options of `python -m serving serve`, and what they ask the server for."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.loading import ConfigurationError
from serving.commands.serve_values import (
    batch_sizes,
    count_from_one,
    named_base_path,
    port_number,
    positive_seconds,
    seconds,
    version_label,
)

if TYPE_CHECKING:
    from serving.server.model_settings import ModelSettings
    from serving.server.server_options import ServerOptions

_BATCHING_FLAGS = (
    "max_batch_size",
    "batch_timeout_micros",
    "allowed_batch_sizes",
    "num_batch_threads",
    "max_enqueued_batches",
    "pad_variable_length_inputs",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds every option of the command.

    Options that are left out and have a field in `ServerOptions` are not among the arguments then:
    the defaults are written there.
    """
    _add_models(parser.add_argument_group("models"))
    _add_ports(parser.add_argument_group("ports"))
    _add_batching(
        parser.add_argument_group(
            "batching", "off unless one of these is given; see docs/serving.md for what it merges"
        )
    )


def models_of(arguments: argparse.Namespace) -> list[ModelSettings]:
    """The models that the options name.

    Raises:
      ConfigurationError: a name is given twice, a label names no model, a policy has no such form,
        or the models.config is wrong.
    """
    from serving.server.model_settings import ModelSettings
    from serving.server.models_config import read_models_config
    from serving.server.version_policy import VersionPolicy

    if arguments.model_config is not None:
        if arguments.version_policy is not None or arguments.version_labels:
            raise ConfigurationError(
                "--version-policy and --version-label go with --model; write them into the file "
                f"of --model-config, {arguments.model_config}"
            )
        return read_models_config(arguments.model_config)
    base_paths = dict(arguments.models)
    if len(base_paths) < len(arguments.models):
        raise ConfigurationError("--model: every model needs a name of its own")
    labels: dict[str, dict[str, int]] = {name: {} for name in base_paths}
    for name, label, version in arguments.version_labels:
        if name not in labels:
            raise ConfigurationError(f"--version-label: there is no --model {name}=BASE")
        labels[name][label] = version
    try:
        policy = VersionPolicy.parse(arguments.version_policy or "latest")
    except ValueError as error:
        raise ConfigurationError(f"--version-policy: {error}") from error
    return [
        ModelSettings(name, Path(base), policy, labels[name]) for name, base in base_paths.items()
    ]


def options_of(arguments: argparse.Namespace) -> ServerOptions:
    """The server's options.

    Raises:
      ConfigurationError: the batching or the certificate is wrong.
    """
    from serving.server.server_options import ServerOptions
    from serving.server.tls import read_tls_settings

    values = {
        field.name: getattr(arguments, field.name)
        for field in dataclasses.fields(ServerOptions)
        if hasattr(arguments, field.name)
    }
    file = arguments.ssl_config_file
    return ServerOptions(
        **values,
        batching=_batching_of(arguments),
        tls=read_tls_settings(file) if file is not None else None,
    )


def _batching_of(arguments: argparse.Namespace) -> Any:
    from serving.server.batching_parameters import BatchingParameters, read_batching_parameters

    flags = {
        name: getattr(arguments, name)
        for name in _BATCHING_FLAGS
        if getattr(arguments, name) is not None
    }
    if arguments.batching_parameters_file is None:
        return BatchingParameters(**flags) if flags else None
    if flags:
        given = ", ".join("--" + name.replace("_", "-") for name in flags)
        raise ConfigurationError(f"--batching-parameters-file cannot be combined with {given}")
    return read_batching_parameters(arguments.batching_parameters_file)


def _add_models(group: argparse._ArgumentGroup) -> None:
    models = group.add_mutually_exclusive_group(required=True)
    models.add_argument(
        "--model",
        dest="models",
        action="append",
        type=named_base_path,
        metavar="NAME=BASE",
        help="a model's name in requests and its base path; repeat for more models",
    )
    models.add_argument(
        "--model-config",
        metavar="FILE",
        help="TensorFlow Serving's models.config (ModelServerConfig as text) instead of --model",
    )
    group.add_argument(
        "--version-policy",
        metavar="POLICY",
        help="versions of every --model: latest:N, all, or specific:V,V; default latest:1",
    )
    group.add_argument(
        "--version-label",
        dest="version_labels",
        action="append",
        default=[],
        type=version_label,
        metavar="NAME:LABEL=VERSION",
        help="a name for a version of a --model; repeat for more",
    )
    group.add_argument(
        "--allow-version-labels-for-unavailable-models",
        action="store_true",
        help="new labels may name versions that are not available",
    )
    group.add_argument(
        "--poll-seconds",
        type=seconds,
        default=argparse.SUPPRESS,
        metavar="S",
        help="pause between looks for new versions; default 1; 0 looks only at the start",
    )
    group.add_argument(
        "--model-config-poll-seconds",
        type=seconds,
        default=0.0,
        metavar="S",
        help="pause between looks at the file of --model-config; default 0, only at the start",
    )


def _add_ports(group: argparse._ArgumentGroup) -> None:
    for kind, default in (("grpc", 8500), ("rest", 8501)):
        group.add_argument(
            f"--{kind}-port",
            type=port_number,
            default=default,
            metavar="P",
            help=f"default {default}; 0 picks a free one",
        )
    group.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; default 127.0.0.1, this machine only",
    )
    group.add_argument(
        "--ssl-config-file",
        metavar="FILE",
        help="a certificate for both ports: TensorFlow Serving's SSLConfig as text",
    )
    for kind in ("grpc", "rest"):
        group.add_argument(
            f"--max-{kind}-request-bytes",
            dest=f"maximum_{kind}_request_bytes",
            type=count_from_one,
            default=argparse.SUPPRESS,
            metavar="N",
            help="larger requests are refused; default 64 MiB",
        )
    group.add_argument(
        "--max-request-rows",
        dest="maximum_request_rows",
        type=count_from_one,
        default=argparse.SUPPRESS,
        metavar="N",
        help="rows, tf.Examples or candidates of a request; more are refused; default 20000",
    )
    group.add_argument(
        "--max-request-input-bytes",
        dest="maximum_request_input_bytes",
        type=count_from_one,
        default=argparse.SUPPRESS,
        metavar="N",
        help="memory of a request's input tensors, however short its message is; default 256 MiB",
    )
    for scope, default, of_whom in (
        ("", 512, "at a time"),
        ("-per-peer", 256, "from one address"),
    ):
        group.add_argument(
            f"--max-rest-connections{scope}",
            type=count_from_one,
            dest=f"maximum_rest_connections{scope.replace('-', '_')}",
            default=argparse.SUPPRESS,
            metavar="N",
            help=f"open {of_whom}; for one more, the one that waits longest for its caller is "
            f"closed; default {default}",
        )
    for part, default, what in (
        ("header", 10, "for the header of a REST request"),
        ("body", 60, "for its body"),
        ("keep-alive", 5, "between an answer and the next REST request of a connection"),
    ):
        group.add_argument(
            f"--rest-{part}-seconds",
            type=positive_seconds,
            default=argparse.SUPPRESS,
            metavar="S",
            help=f"time {what}, after which the connection is closed; default {default}",
        )
    group.add_argument(
        "--grpc-threads",
        type=count_from_one,
        default=argparse.SUPPRESS,
        metavar="N",
        help="gRPC requests that are answered at a time; default 16. Batches cannot hold more",
    )
    group.add_argument(
        "--grace-seconds",
        type=seconds,
        default=argparse.SUPPRESS,
        metavar="S",
        help="how long requests under way may take when the server stops; default 5",
    )


def _add_batching(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--batching-parameters-file",
        metavar="FILE",
        help="TensorFlow Serving's BatchingParameters as text, instead of the options below",
    )
    group.add_argument(
        "--max-batch-size", type=count_from_one, metavar="N", help="rows of a batch; default 1000"
    )
    group.add_argument(
        "--batch-timeout-micros",
        type=int,
        metavar="N",
        help="how long a request waits for company; default 0",
    )
    group.add_argument(
        "--allowed-batch-sizes",
        type=batch_sizes,
        metavar="N,N",
        help="batches are filled up to one of these sizes; default any size",
    )
    group.add_argument(
        "--num-batch-threads",
        type=count_from_one,
        metavar="N",
        help="batches that run at a time; default the processors",
    )
    group.add_argument(
        "--max-enqueued-batches",
        type=count_from_one,
        metavar="N",
        help="batches that may wait; beyond, requests fail with UNAVAILABLE; default 10",
    )
    group.add_argument(
        "--pad-variable-length-inputs",
        action="store_true",
        default=None,
        help='merge inputs of different lengths too, filled up with "" and 0',
    )
