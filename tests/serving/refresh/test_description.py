from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.knowledge import SourceAnswers
from configs.loading import override_scenario
from configs.model import Match
from models.match import KnowledgeMatch
from models.prior import PriorPrediction
from preprocessing.records.forgotten import Forgotten
from serving.refresh.description import (
    PROJECTED,
    MatchReduction,
    RefreshFolder,
    made_from,
    read_description,
    read_match,
    read_prior,
    read_source_table,
    write_prior,
    write_source_table,
)
from serving.refresh.parts import RefreshParts
from tests.runs import random_model
from tests.scenarios import rich_scenario
from tests.serving.refresh.descriptions import description, source


def test_a_description_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = description(item=source(factor="genre", length_scale=0.5, encoder={"kind": "tfidf"}))
    folder = RefreshFolder(tmp_path)
    folder.path.mkdir(parents=True)
    written.write(folder)
    assert read_description(tmp_path) == written


def test_what_a_source_takes_depends_on_what_it_is_made_from() -> None:
    actual = {
        origin: (source(made_from=origin).takes_answers, source(made_from=origin).takes_vectors)
        for origin in ("answers", "metadata", "vectors", "random", "collaborative")
    }
    assert actual == {
        "answers": (True, True),
        "metadata": (True, True),
        "vectors": (False, True),
        "random": (False, False),
        "collaborative": (False, False),
    }


def test_an_older_export_is_told_from_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"refresh\.json is missing.*export again"):
        read_description(tmp_path)
    folder = RefreshFolder(tmp_path)
    folder.path.mkdir(parents=True)
    folder.description.write_text('{"sources": 1}', encoding="utf-8")
    with pytest.raises(CommandError, match=r"refresh\.json is damaged"):
        read_description(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    folder = RefreshFolder(tmp_path)
    folder.path.mkdir(parents=True)
    text = description().model_dump_json()
    folder.description.write_text(text.replace('"format_version":1', '"format_version":2'))
    with pytest.raises(CommandError, match="of another version of the code .1 fields"):
        read_description(tmp_path)


@pytest.mark.parametrize(
    ("setting", "origin"),
    [
        ({"individual": ["a.jsonl"]}, "answers"),
        ({"vectors": ["v.parquet"]}, "vectors"),
        ({"metadata": ["genres"]}, "metadata"),
        ({"random": {"dimension": 3}}, "random"),
        ({"collaborative": {"dimension": 3}}, "collaborative"),
    ],
)
def test_the_configuration_says_what_a_source_is_made_from(
    setting: dict[str, object], origin: str
) -> None:
    assert made_from(SourceAnswers.model_validate({"entity": "item", **setting})) == origin


def test_a_table_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    write_source_table(tmp_path, PROJECTED, table)
    np.testing.assert_array_equal(read_source_table(tmp_path, PROJECTED), table)


def test_objects_are_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / PROJECTED, np.array([{}]), allow_pickle=True)
    with pytest.raises(CommandError, match=r"projected\.npy cannot be read"):
        read_source_table(tmp_path, PROJECTED)


_VECTORS = np.random.default_rng(0).normal(size=[20, 4]).astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("means", Match(dimension=3)),
        ("ridge", Match(dimension=3)),
        ("ridge", Match(dimension=3, learned=True)),
        ("ridge", Match(form="exact")),
    ],
)
def test_a_match_reduces_after_reading_as_before(kind: str, options: Match, tmp_path: Path) -> None:
    match = KnowledgeMatch.from_vectors(kind, _VECTORS, options)
    MatchReduction.of_match(match).write(tmp_path)
    actual = read_match(tmp_path)
    new = np.random.default_rng(1).normal(size=[3, 4])
    np.testing.assert_array_equal(actual.rows(new), match.reduce(new))


def test_a_missing_match_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"match\.npz cannot be read"):
        read_match(tmp_path)


def test_a_prior_predicts_after_reading_as_before(tmp_path: Path) -> None:
    prediction = PriorPrediction(
        centre=np.ones(4, np.float32),
        landmarks=np.eye(4, dtype=np.float32)[:2],
        coefficients=np.array([1.0, -2.0, 0.5], np.float32),
        length_scale=0.5,
    )
    write_prior(tmp_path, prediction)
    actual = read_prior(tmp_path, 0.5)
    np.testing.assert_array_equal(actual.predict(_VECTORS), prediction.predict(_VECTORS))
    (tmp_path / "prior.npz").unlink()
    with pytest.raises(CommandError, match=r"prior\.npz cannot be read"):
        read_prior(tmp_path, 0.5)


def test_a_version_says_what_its_knowledge_is_made_from(tmp_path: Path) -> None:
    scenario = rich_scenario(
        model__match="ridge",
        model__knowledge_match={"dimension": 6, "sources": ["likes", "plain"]},
        model__prior=True,
    )
    RefreshParts.of(random_model(scenario), scenario).write(tmp_path)
    actual = read_description(tmp_path)
    assert {
        source: (each.entity, each.made_from, each.dimension)
        for source, each in actual.sources.items()
    } == {
        "item": ("item", "answers", 12),
        "user": ("user", "answers", 12),
        "likes": ("item", "collaborative", 6),
        "plain": ("item", "metadata", 12),
    }
    assert actual.prior_sources == ("item",)
    assert actual.sources["item"].length_scale == 0.5
    assert actual.sources["plain"].length_scale is None
    assert actual.encoder.kind == "tfidf"
    assert (actual.num_exported_items, actual.is_retrieval) == (62, False)
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
    actual = read_description(tmp_path)
    assert (actual.sources, actual.id_type) == ({}, "int64")
    assert not RefreshFolder(tmp_path).functions.exists()


def test_a_version_knows_whom_the_work_directory_forgot(tmp_path: Path) -> None:
    scenario = rich_scenario(model__adapter="none")
    model = random_model(scenario)
    work_dir = tmp_path / "work"
    shutil.copytree(scenario.work_dir, work_dir, ignore=shutil.ignore_patterns("runs"))
    forgotten = Forgotten.of(work_dir).with_ids(["u1"], ["7"])
    forgotten.write(work_dir)
    scenario = override_scenario(scenario, {"work_dir": str(work_dir)})
    RefreshParts.of(model, scenario).write(tmp_path / "1")
    assert Forgotten.of(RefreshFolder(tmp_path / "1").path) == forgotten
