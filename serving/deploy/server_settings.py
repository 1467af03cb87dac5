"""Settings of the server process: where models lie, its flags, and what a replica gets."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from configs.section import Section

Port = Annotated[int, Field(ge=1, le=65535)]
DNS_NAME = r"^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(Mi|Gi|Ti)$"


class Storage(Section):
    """Where the server finds the version folders that `export --out` writes."""

    path: str = Field(
        "/models/model",
        description="base path in the server: a mounted folder, or gs://BUCKET/FOLDER; it holds "
        "the version folders 1, 2, ...",
        pattern=r"^(/|gs://)[A-Za-z0-9_./-]+$",
    )
    claim: str = Field(
        "models",
        description="PersistentVolumeClaim that is mounted at storage.path; unused with gs://",
        pattern=DNS_NAME,
    )
    create_claim: bool = Field(
        True, description="whether the claim is rendered; false when it exists already"
    )
    size: str = Field(
        "20Gi",
        description="size of the claim: all versions that lie on it at a time",
        pattern=_QUANTITY,
    )
    access_mode: Literal["ReadWriteMany", "ReadOnlyMany", "ReadWriteOnce"] = Field(
        "ReadWriteMany",
        description="ReadWriteMany lets exports be written while replicas on any node read; "
        "ReadWriteOnce, all that most block storage offers, binds every replica to one node",
    )
    storage_class: str | None = Field(
        None, description="storage class of the claim; the cluster's default when left out"
    )

    @field_validator("path", mode="before")
    @classmethod
    def _is_readable_by_the_image(cls, path: object) -> object:
        if isinstance(path, str) and path.startswith("s3://"):
            raise ValueError(
                "the official image cannot read s3:// since release 2.7; copy the versions to the "
                "claim and name the folder where it is mounted, or give the address to KServe, "
                "which downloads it (kserve.storage_uri)"
            )
        return path

    @property
    def is_mounted(self) -> bool:
        """Whether the base path is a folder on a volume, and not an address."""
        return self.path.startswith("/")


class Server(Section):
    """Flags of tensorflow_model_server. It has no authentication: never expose it to the public."""

    grpc_port: Port = Field(8500, description="port of the gRPC API")
    rest_port: Port = Field(
        8501, description="port of the REST API, of the probes and of the metrics"
    )
    rest_timeout_in_ms: int = Field(
        2000,
        description="after this a REST request is given up; gRPC clients bring their own deadline. "
        "Longer saves slow requests, shorter frees threads for others under load",
        ge=1,
    )
    rest_num_threads: int | None = Field(
        None,
        description="REST requests handled at a time; 4 x CPUs when left out. A request that waits "
        "for its batch holds its thread",
        ge=1,
    )
    grpc_max_threads: int | None = Field(
        None,
        description="gRPC requests handled at a time; 4 x CPUs when left out. More only deepens "
        "the queue in front of the CPUs",
        ge=1,
    )
    grpc_max_connection_age_ms: int = Field(
        300_000,
        description="a gRPC connection is closed gently after this, so that clients find new "
        "replicas; shorter spreads load sooner and reconnects more often",
        ge=1000,
    )
    intra_op_threads: int | None = Field(
        None,
        description="threads that share one operation; the CPUs, rounded up, when left out. Left "
        "to itself TensorFlow counts the CPUs of the node, too many for a container's share",
        ge=1,
    )
    inter_op_threads: int | None = Field(
        None,
        description="operations that run at a time, over all requests; the CPUs when left out",
        ge=1,
    )
    file_system_poll_wait_seconds: int = Field(
        10,
        description="how often the base path is searched for the listed versions; each look is a "
        "listing, for which object storage charges",
        ge=1,
    )
    model_config_file_poll_wait_seconds: int = Field(
        30,
        description="how often models.config is read again, and so how late a moved label takes "
        "effect (in Kubernetes the ConfigMap itself arrives up to about a minute later)",
        ge=1,
    )

    @model_validator(mode="after")
    def _ports_differ(self) -> Server:
        if self.grpc_port == self.rest_port:
            raise ValueError("server.grpc_port and server.rest_port must differ")
        return self


class Resources(Section):
    """What one replica gets."""

    cpu: float = Field(
        2.0,
        description="CPUs requested; threads are sized by it and autoscaling measures against it",
        gt=0,
    )
    cpu_limit: float | None = Field(
        None,
        description="CPUs at most; no limit when left out. A limit keeps neighbours safe and costs "
        "tail latency, because bursts are throttled",
        gt=0,
    )
    memory: str = Field(
        "4Gi",
        description="memory requested, and the limit at once, so that no replica is ended because "
        "its node ran out; must hold two versions, which every rollout loads together",
        pattern=_QUANTITY,
    )

    @model_validator(mode="after")
    def _limit_holds_the_request(self) -> Resources:
        if self.cpu_limit is not None and self.cpu_limit < self.cpu:
            raise ValueError("resources.cpu_limit must be at least resources.cpu")
        return self

    @property
    def threads(self) -> int:
        """CPUs as a number of threads."""
        return math.ceil(self.cpu)
