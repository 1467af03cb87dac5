"""Settings of the platforms that run the server: Kubernetes, KServe, Compose, Prometheus."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from configs.section import Section
from serving.deploy.server_settings import DNS_NAME, Port


def require_pinned(tag: str) -> str:
    """Refuses an image's tag that may name another image tomorrow.

    Raises:
      ValueError: the tag names no release.
    """
    if not re.fullmatch(r"v?[0-9]+\.[0-9]+(\.[0-9]+)?[A-Za-z0-9._-]*", tag):
        raise ValueError("name a release, for example 2.21.0, and no tag that moves")
    return tag


class Kubernetes(Section):
    """The Deployment and what stands around it."""

    namespace: str | None = Field(
        None,
        description="namespace of everything, rendered too; the one of kubectl when left out",
        pattern=DNS_NAME,
    )
    replicas: int = Field(
        2, description="replicas, and the fewest that autoscaling leaves; 1 has no spare", ge=1
    )
    startup_seconds: int = Field(
        300,
        description="how long a replica may load its versions before it is started anew; too short "
        "and a large table never finishes, too long and a broken one is noticed late",
        ge=10,
    )
    drain_seconds: int = Field(
        10,
        description="how long a replica that is to end serves on, until no traffic reaches it",
        ge=0,
    )
    service_account: str | None = Field(
        None,
        description="service account of the replicas, for gs:// by workload identity",
        pattern=DNS_NAME,
    )


class Autoscaling(Section):
    """Limits of the HorizontalPodAutoscaler."""

    enabled: bool = Field(True, description="whether the autoscaler is rendered")
    max_replicas: int = Field(6, description="the most replicas, and so the most cost", ge=1)
    target_cpu_percent: int = Field(
        60,
        description="replicas are added above this share of the requested CPUs. Lower leaves room "
        "while a new replica loads, and costs idle CPUs",
        ge=10,
        le=95,
    )
    scale_down_seconds: int = Field(
        300,
        description="load must have been lower for so long before replicas go; short saves CPUs "
        "and pays with loading again",
        ge=0,
        le=3600,
    )


class KServe(Section):
    """What KServe's InferenceService needs beside the rest."""

    storage_uri: str | None = Field(
        None,
        description="base path that KServe mounts (pvc://) or downloads (gs://, s3://, ...); the "
        "storage of the other files when left out. The highest version in it is served",
        pattern=r"^[a-z0-9]+://[A-Za-z0-9_./-]+$",
    )
    canary_traffic_percent: int | None = Field(
        None,
        description="share of traffic for what is applied now; the rest stays with the revision "
        "before it (KServe on Knative only). All of it when left out",
        ge=0,
        le=100,
    )


class Compose(Section):
    """The stack of one machine: TensorFlow Serving, Prometheus and Grafana."""

    model_folder: str = Field(
        "../models",
        description="folder of this machine with the version folders, relative to compose.yaml; "
        "MODEL_FOLDER in the environment overrides it",
        pattern=r"^[A-Za-z0-9_./-]+$",
    )
    prometheus_image: str = Field("prom/prometheus:v3.5.0", description="image with a pinned tag")
    prometheus_port: Port = Field(9090, description="port on this machine")
    grafana_image: str = Field("grafana/grafana:12.1.1", description="image with a pinned tag")
    grafana_port: Port = Field(3000, description="port on this machine")

    @field_validator("prometheus_image", "grafana_image")
    @classmethod
    def _has_a_pinned_tag(cls, image: str) -> str:
        require_pinned(image.rpartition("/")[2].partition(":")[2])
        return image


class Monitoring(Section):
    """What Prometheus reads."""

    path: str = Field(
        "/monitoring/prometheus/metrics",
        description="path of the metrics on the REST port",
        pattern=r"^/[A-Za-z0-9_./-]+$",
    )
    scrape_seconds: int = Field(
        15, description="how often metrics are read; finer graphs for more storage", ge=1
    )
