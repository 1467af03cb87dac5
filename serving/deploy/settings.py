"""The typed settings of a deployment: one YAML file, from which all deployment files are rendered.

Parameters of TensorFlow Serving keep the names they have there, so that its documentation applies.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from configs.section import Section
from serving.deploy.batching import Batching
from serving.deploy.platform_settings import (
    Autoscaling,
    Compose,
    KServe,
    Kubernetes,
    Monitoring,
    require_pinned,
)
from serving.deploy.server_settings import DNS_NAME, Resources, Server, Storage


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
    stable: int = Field(description="version with the label stable, which clients ask for", ge=1)
    canary: int | None = Field(
        None, description="version with the label canary; no such label when left out", ge=1
    )
    also_loaded: tuple[int, ...] = Field(
        (),
        description="further versions in memory: one about to get a label, or the last stable one "
        "for an instant rollback; each costs its full memory",
    )
    image: str = Field(
        "tensorflow/serving",
        description="image of the server, without tag",
        pattern=r"^[a-z0-9][a-z0-9._/:-]*[a-z0-9]$",
    )
    tag: str = Field(
        "2.21.0",
        description="release of the server: that of the TensorFlow that exported, or a later one",
    )
    storage: Storage = Storage()
    server: Server = Server()
    batching: Batching = Batching()
    resources: Resources = Resources()
    kubernetes: Kubernetes = Kubernetes()
    autoscaling: Autoscaling = Autoscaling()
    kserve: KServe = KServe()
    compose: Compose = Compose()
    monitoring: Monitoring = Monitoring()

    @field_validator("tag")
    @classmethod
    def _is_pinned(cls, tag: str) -> str:
        return require_pinned(tag)

    @field_validator("also_loaded")
    @classmethod
    def _are_versions(cls, versions: tuple[int, ...]) -> tuple[int, ...]:
        if any(version < 1 for version in versions):
            raise ValueError("versions are whole numbers from 1")
        return versions

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
    def dns_model_name(self) -> str:
        """The model's name in the letters that Kubernetes allows."""
        return re.sub(r"[^a-z0-9]+", "-", self.model_name.lower()).strip("-") or "model"

    @property
    def object_name(self) -> str:
        """Name of the Kubernetes objects."""
        return self.name or f"{self.dns_model_name}-serving"

    @property
    def full_image(self) -> str:
        """Image with tag."""
        return f"{self.image}:{self.tag}"
