"""The typed settings of a deployment: one YAML file, from which all deployment files are rendered.

Parameters of TensorFlow Serving keep the names they have there, so that its documentation applies.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from configs.section import Section

Port = Annotated[int, Field(ge=1, le=65535)]
Version = Annotated[int, Field(ge=1, le=2**63 - 1)]
LONGEST_NAME = 50
"""Characters of a name, which with what is added must stay within Kubernetes' 63."""
DNS_NAME = r"^[a-z]([-a-z0-9]{0,48}[a-z0-9])?$"
_QUANTITY = r"^[0-9]+(\.[0-9]+)?(Mi|Gi|Ti)$"
_IMAGE_WITH_TAG = r"^[A-Za-z0-9._/:-]+(@sha256:[0-9a-f]{64})?$"


def require_pinned(tag: str) -> str:
    """Refuses an image's tag that may name another image tomorrow.

    Raises:
      ValueError: the tag names no release.
    """
    if not re.fullmatch(r"v?[0-9]+\.[0-9]+(\.[0-9]+)?[A-Za-z0-9._-]*", tag):
        raise ValueError("name a release, for example 2.21.0, and no tag that moves")
    return tag


def require_pinned_image(image: str) -> str:
    """Refuses an image whose name may mean another one tomorrow: it has a digest or a pinned tag.

    Raises:
      ValueError: it has neither.
    """
    if "@" not in image:
        require_pinned(image.rpartition("/")[2].partition(":")[2])
    return image


class Storage(Section):
    """Where the server finds the version folders of `export --out`, and who brings them there."""

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
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] = Field(
        "ReadWriteOnce",
        description="ReadWriteOnce, which all block storage offers, puts all replicas on one node; "
        "ReadWriteMany (NFS, Filestore, EFS) lets them be anywhere",
    )
    storage_class: str | None = Field(
        None,
        description="storage class of the claim; the cluster's default when left out",
        pattern=r"^[a-z0-9.-]*$",
    )
    source: str | None = Field(
        "upload",
        description="where the loader takes versions from that the volume lacks: "
        "gs://BUCKET/FOLDER, s3://BUCKET/FOLDER, oci://REGISTRY/REPOSITORY (the version is the "
        "tag), a folder of the node such as /mnt/models, or upload, with which it waits until they "
        "are sent to it. null for no loader: somebody else fills the volume",
        pattern=r"^(upload|/[A-Za-z0-9_./-]+|(gs|s3|oci)://[A-Za-z0-9_./:-]+[A-Za-z0-9_-])$",
    )
    source_secret: str | None = Field(
        None,
        description="Secret with the loader's credentials, where its service account has none: "
        "its keys become variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, RCLONE_S3_ENDPOINT, "
        "...); for oci:// a Secret of type kubernetes.io/dockerconfigjson",
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
    )
    s3_provider: str = Field(
        "AWS",
        description="whose S3 it is, by rclone's name: AWS, Minio, Ceph, Cloudflare, ...",
        pattern=r"^[A-Za-z0-9]+$",
    )
    rclone_image: str = Field(
        "rclone/rclone:1.71.0",
        description="image of the loader, but for oci://, with a pinned tag or digest",
        pattern=_IMAGE_WITH_TAG,
    )
    oras_image: str = Field(
        "ghcr.io/oras-project/oras:v1.3.0",
        description="image of the loader for oci://, with a pinned tag or digest",
        pattern=_IMAGE_WITH_TAG,
    )

    @field_validator("path", mode="before")
    @classmethod
    def _is_readable_by_the_image(cls, path: object) -> object:
        if isinstance(path, str) and path.startswith("s3://"):
            raise ValueError(
                "the official image cannot read s3:// since release 2.7; give the address to the "
                "loader (storage.source) and name here where the claim is mounted, or to KServe, "
                "which downloads it (kserve.storage_uri)"
            )
        return path

    _pinned_images = field_validator("rclone_image", "oras_image")(require_pinned_image)

    @model_validator(mode="after")
    def _loader_can_write(self) -> Storage:
        if self.has_loader and self.access_mode == "ReadOnlyMany":
            raise ValueError(
                "nothing can be brought to a volume that is ReadOnlyMany: set storage.source=null, "
                "or another storage.access_mode"
            )
        return self

    @property
    def is_mounted(self) -> bool:
        """Whether the base path is a folder on a volume, and not an address."""
        return self.path.startswith("/")

    @property
    def has_loader(self) -> bool:
        """Whether a Job brings versions to the volume."""
        return self.is_mounted and self.source is not None

    @property
    def is_on_one_node(self) -> bool:
        """Whether all that mount the volume must run on the same node."""
        return self.is_mounted and self.access_mode == "ReadWriteOnce"


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


class Batching(Section):
    """TensorFlow Serving's batching of requests; `server/batching.config` says where it works."""

    enabled: bool = Field(
        False,
        description="whether requests are batched. Off for models that are asked by `rank`, which "
        "batching refuses; `rank` is a batch by itself",
    )
    max_batch_size: int = Field(
        1024,
        description="rows of the largest request; larger ones are refused. A guard against "
        "requests that hold a thread for long",
        ge=1,
    )
    max_execution_batch_size: int = Field(
        256,
        description="rows that run together; larger requests are split. More rows a run raise "
        "throughput until the CPUs are busy, and every row waits for the whole run",
        ge=1,
    )
    batch_timeout_micros: int = Field(
        1000,
        description="how long a request waits for company, in microseconds. All of it is added to "
        "the latency of a quiet server; 0 batches only what is already waiting",
        ge=0,
    )
    num_batch_threads: int | None = Field(
        None,
        description="batches that run at a time; the CPUs when left out. More overlap short runs, "
        "and beyond the CPUs they only slow each other down",
        ge=1,
    )
    max_enqueued_batches: int = Field(
        100,
        description="batches that may wait, for each model version and signature; beyond, requests "
        "fail at once with UNAVAILABLE. Fewer fail early and keep latency bounded, more ride out "
        "bursts",
        ge=1,
    )
    allowed_batch_sizes: tuple[int, ...] = Field(
        (),
        description="runs are filled up to the next of these sizes with copies of a row. Only "
        "worth the wasted rows where every size is compiled (XLA, TensorRT). Ascending; the last, "
        "max_batch_size and max_execution_batch_size must be equal, as some releases demand",
    )
    pad_variable_length_inputs: bool = Field(
        False,
        description="whether shorter inputs of a batch are filled up by the server; wrong for "
        "histories and candidates, see the file",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Batching:
        sizes = self.allowed_batch_sizes
        if self.max_execution_batch_size > self.max_batch_size:
            raise ValueError(
                "batching.max_execution_batch_size must not exceed batching.max_batch_size"
            )
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1):
            raise ValueError(
                f"batching.allowed_batch_sizes must ascend from 1 or more. Received: {list(sizes)}"
            )
        if sizes and not sizes[-1] == self.max_execution_batch_size == self.max_batch_size:
            raise ValueError(
                f"batching.allowed_batch_sizes ends with {sizes[-1]}; max_batch_size "
                f"({self.max_batch_size}) and max_execution_batch_size "
                f"({self.max_execution_batch_size}) must be the same number"
            )
        return self


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
        description="service account of the replicas and of the loader, for gs:// and s3:// by "
        "workload identity",
        pattern=DNS_NAME,
    )
    components: tuple[Literal["gateway", "monitoring", "network-policy", "small-cluster"], ...] = (
        Field(
            (),
            description="folders of kubernetes/components that are applied too: monitoring needs "
            "Prometheus Operator, gateway the Gateway API; small-cluster fits a laptop's",
        )
    )
    gateway: str = Field(
        "gateway", description="Gateway whose routes the component gateway adds", pattern=DNS_NAME
    )
    gateway_namespace: str | None = Field(
        None, description="its namespace; that of the routes when left out", pattern=DNS_NAME
    )
    gateway_hostname: str | None = Field(
        None,
        description="host name whose requests are meant; all that the Gateway has when left out",
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?$",
    )


class CanaryTrack(Section):
    """A second Deployment with one version of its own, behind the same Services.

    Unlike the label `canary`, it takes its share of the requests of clients that know nothing of
    it, and the label `track` tells its metrics apart.
    """

    version: Version | None = Field(
        None,
        description="version that the second Deployment serves, as its `stable`; no second "
        "Deployment when left out",
    )
    replicas: int = Field(
        1,
        description="its replicas. Services give it this number's share of all replicas: 1 beside "
        "9 is a tenth",
        ge=1,
    )
    traffic_percent: int = Field(
        10,
        description="its share of the requests that come through the component gateway, however "
        "many replicas there are",
        ge=0,
        le=100,
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
        "../export",
        description="folder of this machine with the version folders, relative to compose.yaml; "
        "MODEL_FOLDER in the environment overrides it",
        pattern=r"^[A-Za-z0-9_./-]+$",
    )
    prometheus_image: str = Field(
        "prom/prometheus:v3.5.0",
        description="image with a pinned tag or digest",
        pattern=_IMAGE_WITH_TAG,
    )
    prometheus_port: Port = Field(9090, description="port on this machine")
    grafana_image: str = Field(
        "grafana/grafana:12.1.1",
        description="image with a pinned tag or digest",
        pattern=_IMAGE_WITH_TAG,
    )
    grafana_port: Port = Field(3000, description="port on this machine")

    _pinned_images = field_validator("prometheus_image", "grafana_image")(require_pinned_image)


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
    namespace: str = Field(
        "monitoring",
        description="namespace that may read metrics (component network-policy)",
        pattern=DNS_NAME,
    )
    operator_release: str | None = Field(
        None,
        description="value of the label `release`, by which Prometheus Operator may choose its "
        "monitors and rules; kube-prometheus-stack wants the name of its Helm release",
        pattern=DNS_NAME,
    )


class Alerts(Section):
    """When an alert fires; docs/deployment.md says what to do then."""

    failed_percent: float = Field(
        2,
        description="share of requests that fail by the server's fault, for 10 minutes",
        gt=0,
        lt=100,
    )
    p99_milliseconds: float = Field(
        200,
        description="99th percentile of ranking requests inside the server, for 15 minutes. Its "
        "buckets grow by 1.8, so leave as much room above what is usual",
        gt=0,
    )
    queue_milliseconds: float = Field(
        50,
        description="99th percentile of the wait for a batch, for 10 minutes; only with batching",
        gt=0,
    )
    restarts_per_hour: int = Field(
        2, description="restarts of one replica within an hour that are still borne", ge=0
    )
    stale_days: int = Field(
        7,
        description="days without a new version on the stable replicas: refresh or rollout is "
        "stuck. Prometheus must keep its data for longer (15 days unless told otherwise)",
        ge=1,
    )


_SUFFIX = "-serving"


class Deployment(Section):
    """One served model with its versions, and everything that runs it."""

    model_name: str = Field(
        description="the model's name in requests", pattern=r"^[A-Za-z0-9_.-]{1,40}$"
    )
    name: str | None = Field(
        None,
        description="name of the Kubernetes objects; MODEL-serving when left out",
        pattern=DNS_NAME,
    )
    stable: Version = Field(description="version with the label stable, which clients ask for")
    canary: Version | None = Field(
        None, description="version with the label canary; no such label when left out"
    )
    also_loaded: tuple[Version, ...] = Field(
        (),
        description="further versions in memory: one about to get a label, or the last stable one "
        "for an instant rollback; each costs its full memory",
    )
    image: str = Field(
        "tensorflow/serving",
        description="image of the server without tag, or with its digest: NAME@sha256:...",
        pattern=r"^[a-z0-9][a-z0-9._/:-]*[a-z0-9](@sha256:[0-9a-f]{64})?$",
    )
    tag: str = Field(
        "2.21.0",
        description="release of the server: that of the TensorFlow that exported, or a later one. "
        "With a digest only KServe goes by it",
    )
    storage: Storage = Storage()
    server: Server = Server()
    batching: Batching = Batching()
    resources: Resources = Resources()
    kubernetes: Kubernetes = Kubernetes()
    canary_track: CanaryTrack = CanaryTrack()
    autoscaling: Autoscaling = Autoscaling()
    kserve: KServe = KServe()
    compose: Compose = Compose()
    monitoring: Monitoring = Monitoring()
    alerts: Alerts = Alerts()

    _pinned_tag = field_validator("tag")(require_pinned)

    @model_validator(mode="after")
    def _autoscaling_has_room(self) -> Deployment:
        most, fewest = self.autoscaling.max_replicas, self.kubernetes.replicas
        if self.autoscaling.enabled and most < fewest:
            raise ValueError(
                f"autoscaling.max_replicas ({most}) is below kubernetes.replicas ({fewest})"
            )
        return self

    @property
    def labels(self) -> dict[str, int]:
        """Version labels, in the order of the files."""
        labels = {"stable": self.stable}
        return labels if self.canary is None else {**labels, "canary": self.canary}

    @property
    def loaded_versions(self) -> tuple[int, ...]:
        """All versions in memory, ascending."""
        return tuple(sorted({*self.labels.values(), *self.also_loaded}))

    @property
    def fetched_versions(self) -> tuple[int, ...]:
        """All versions that some replica needs, ascending."""
        track = self.canary_track.version
        return tuple(sorted({*self.loaded_versions, *(() if track is None else (track,))}))

    @property
    def image_reference(self) -> str:
        """The server's image, pinned by its digest or by the tag."""
        return self.image if "@" in self.image else f"{self.image}:{self.tag}"

    @property
    def dns_model_name(self) -> str:
        """The model's name in the characters that Kubernetes allows, with a letter first."""
        name = re.sub(r"[^a-z0-9]+", "-", self.model_name.lower()).strip("-")
        if name[:1].isalpha():
            return name
        named = f"model-{name}".strip("-")
        return named if len(named + _SUFFIX) <= LONGEST_NAME else f"m-{name}"

    @property
    def object_name(self) -> str:
        """Name of the Kubernetes objects."""
        return self.name or f"{self.dns_model_name}{_SUFFIX}"
