from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from models.backbones import BACKBONES


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_has_a_page_with_its_options_and_its_paper(
    name: str, repository_root: Path
) -> None:
    page = (repository_root / "docs/models" / f"{name}.md").read_text(encoding="utf-8")
    kind = BACKBONES[name]
    options = [option for option in inspect.signature(kind).parameters if option != "kwargs"]
    assert options[:2] == ["top_units", "dropout_rate"]
    described = set(re.findall(r"`(\w+)[^`]*`", page))
    assert set(options) <= described
    papers = re.findall(r"arXiv\s+(\d{4}\.\d{5})", inspect.getdoc(kind) or "")
    assert papers
    assert all(paper in page for paper in papers)
