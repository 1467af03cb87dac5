"""Descriptions of made-up versions."""

from __future__ import annotations

from typing import Any

from configs.knowledge import Encoder
from serving.refresh.version import RefreshDescription, SourceDescription


def source(**options: Any) -> SourceDescription:
    return SourceDescription(**{"entity": "item", "made_from": "answers", "dimension": 3} | options)


def description(**sources: SourceDescription) -> RefreshDescription:
    return RefreshDescription(
        encoder=Encoder(kind="tfidf", dimension=3),
        sources=sources or {"item": source(), "user": source(entity="user")},
        num_exported_items=5,
    )
