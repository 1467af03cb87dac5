"""Adapters by registry name: how knowledge vectors become fields of the ranking model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pkgutil import resolve_name

import configs.model
from models.adapters.base import KnowledgeAdapter
from models.knowledge import KnowledgeTable

AdapterBuilder = Callable[[configs.model.Model, Mapping[str, KnowledgeTable]], KnowledgeAdapter]

ADAPTERS: dict[str, AdapterBuilder] = {
    name: resolve_name(path) for name, path in configs.model.ADAPTERS.items()
}
