from __future__ import annotations

from pathlib import Path

from serving.refresh.description import RefreshFolder, read_description
from serving.refresh.parts import RefreshParts
from tests.runs import random_model
from tests.scenarios import rich_scenario


def test_a_version_says_what_its_knowledge_is_made_from(tmp_path: Path) -> None:
    scenario = rich_scenario(
        model__match="ridge",
        model__knowledge_match={"dimension": 6, "sources": ["likes", "plain"]},
        model__prior=True,
    )
    RefreshParts.of(random_model(scenario), scenario).write(tmp_path)
    found = read_description(tmp_path)
    assert {
        source: (each.entity, each.made_from, each.dimension)
        for source, each in found.sources.items()
    } == {
        "item": ("item", "answers", 12),
        "user": ("user", "answers", 12),
        "likes": ("item", "collaborative", 6),
        "plain": ("item", "metadata", 12),
    }
    assert found.prior_sources == ("item",)
    assert found.sources["item"].length_scale == 0.5
    assert found.sources["plain"].length_scale is None
    assert found.encoder.kind == "tfidf"
    assert (found.num_exported_items, found.is_retrieval) == (62, False)
    folder = RefreshFolder(tmp_path)
    assert {path.name for path in folder.encoder("plain").iterdir()} == {
        "tfidf_arrays.npz",
        "tfidf_terms.json",
    }
    files = {path.name for path in folder.source("likes").iterdir()}
    assert files == {"entities.npz", "match.npz", "match.json"}


def test_a_model_without_knowledge_has_no_source(tmp_path: Path) -> None:
    scenario = rich_scenario(model__adapter="none")
    RefreshParts.of(random_model(scenario), scenario, "int64").write(tmp_path)
    found = read_description(tmp_path)
    assert (found.sources, found.id_type) == ({}, "int64")
    assert not RefreshFolder(tmp_path).functions.exists()
