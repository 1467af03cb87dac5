"""Re-rankers by registry name, as `configs.model` lists them."""

from __future__ import annotations

from pkgutil import resolve_name

import configs.model
from models.backbones.base import Backbone

RERANKERS: dict[str, type[Backbone]] = {
    name: resolve_name(path) for name, path in configs.model.RERANKERS.items()
}
