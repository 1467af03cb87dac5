"""Retrieval models by registry name, as `configs.model` lists them."""

from __future__ import annotations

from pkgutil import resolve_name

import configs.model
from models.backbones.base import Backbone

RETRIEVERS: dict[str, type[Backbone]] = {
    name: resolve_name(path) for name, path in configs.model.RETRIEVERS.items()
}
