"""Retrieval models by registry name: a new one is a file, a test, a page and a line here."""

from __future__ import annotations

from models.retrieval.two_tower import TwoTower

RETRIEVERS = {"two_tower": TwoTower}
