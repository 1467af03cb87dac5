from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from models.backbones import BACKBONES
from models.rerankers import RERANKERS
from models.retrieval import RETRIEVERS
from models.retrieval.base import HistoryPooling
from models.retrieving import RetrievalModel

MODELS: dict[str, type[Any]] = {**BACKBONES, **RERANKERS, **RETRIEVERS}
OPTION_TABLE = re.compile(r"^\| option \| default \| meaning \|\n\|[-| ]+\|\n((?:\|.*\n)+)", re.M)


@pytest.fixture
def page(name: str, repository_root: Path) -> str:
    return (repository_root / "docs/models" / f"{name}.md").read_text(encoding="utf-8")


def shown(default: object) -> str:
    """A default as a page shows it: switches and nothing in YAML, all else in Python."""
    if isinstance(default, bool):
        return str(default).lower()
    return "null" if default is None else str(default)


@pytest.mark.parametrize("name", MODELS)
def test_every_page_lists_the_options_with_their_defaults(name: str, page: str) -> None:
    parameters = inspect.signature(MODELS[name]).parameters
    options = [
        (option, shown(parameter.default))
        for option, parameter in parameters.items()
        if option != "kwargs"
    ]
    assert [option for option, _ in options[:2]] == ["top_units", "dropout_rate"]
    (table,) = OPTION_TABLE.findall(page)
    rows = [re.fullmatch(r"\| `(\w+)` \| `?(.+?)`? \| .+ \|", row) for row in table.splitlines()]
    assert [row and row.groups() for row in rows] == options


@pytest.mark.parametrize(
    ("name", "source"),
    [
        *MODELS.items(),
        *((name, part) for name in RETRIEVERS for part in (HistoryPooling, RetrievalModel)),
    ],
)
def test_every_page_cites_the_papers(name: str, source: type[Any], page: str) -> None:
    papers = re.findall(r"arXiv\s+(\d{4}\.\d{5})", inspect.getdoc(source) or "")
    assert papers
    assert all(paper in page for paper in papers)
