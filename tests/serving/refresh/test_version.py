from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from configs.knowledge import SourceAnswers
from configs.loading import override_scenario
from configs.model import Match
from models.match import KnowledgeMatch
from models.prior import PriorPrediction
from models.vector_tables import growing_table
from preprocessing.records.forgotten import Forgotten
from serving.id_index import IdIndex, IndexContents, IndexOverflow
from serving.proof.result import c_api_loader
from serving.refresh import version as version_module
from serving.refresh.parts import RefreshParts
from serving.refresh.version import (
    PROJECTED,
    IdLookup,
    MatchReduction,
    RefreshFolder,
    StoredVariables,
    made_from,
    read_description,
    read_match,
    read_prior,
    read_source_table,
    write_prior,
    write_source_table,
)
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


class Sums(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = growing_table(np.arange(6, dtype=np.float32).reshape(3, 2), "items/table")
        self.names = growing_table(["", "a", "b"], "items/name")
        self.factor = tf.Variable(2.0, name="factor")

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def rows(self, rows: tf.Tensor) -> dict[str, tf.Tensor]:
        return {
            "sum": tf.reduce_sum(tf.gather(self.table, rows), axis=1) * self.factor,
            "name": tf.gather(self.names, rows),
        }


@pytest.fixture
def version(tmp_path: Path) -> Path:
    module = Sums()
    tf.saved_model.save(module, str(tmp_path / "1"), signatures=module.rows)
    return tmp_path / "1"


def test_variables_are_found_by_name(version: Path) -> None:
    variables = StoredVariables(version)
    assert variables.names("items/") == ["items/name", "items/table"]
    assert variables.shape("items/table") == [3, 2]
    assert variables.read("items/name").tolist() == [b"", b"a", b"b"]
    assert "factor" in variables and "items/other" not in variables


def test_a_table_with_more_rows_takes_its_place(version: Path, tmp_path: Path) -> None:
    new = tmp_path / "2"
    new.mkdir()
    for name in ("saved_model.pb", "fingerprint.pb"):
        (new / name).write_bytes((version / name).read_bytes())
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    names = np.array([b"", b"a", b"b", b"c", b"d"], object)
    StoredVariables(version).write(new, {"items/table": table, "items/name": names})
    loaded = tf.saved_model.load(str(new))
    actual = loaded.signatures["serving_default"](rows=tf.constant([4, 1]))
    # (8 + 9) * 2 and (2 + 3) * 2
    assert actual["sum"].numpy().tolist() == [34.0, 10.0]
    assert actual["name"].numpy().tolist() == [b"d", b"a"]
    old = tf.saved_model.experimental.read_fingerprint(str(version))
    assert tf.saved_model.experimental.read_fingerprint(str(new)).checkpoint_hash not in (
        0,
        old.checkpoint_hash,
    )


def test_large_checkpoints_are_written_in_parts(
    version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version_module, "_BYTES_AT_ONCE", 30)
    for number in (2, 3):
        new = tmp_path / str(number)
        new.mkdir()
        (new / "saved_model.pb").write_bytes((version / "saved_model.pb").read_bytes())
        StoredVariables(version).write(new, {"factor": np.float32(3)})
    # The object graph and the factor; the names, 24 bytes each; the table of 24 bytes.
    assert sorted(path.name for path in (tmp_path / "2" / "variables").iterdir()) == [
        *(f"variables.data-0000{part}-of-00003" for part in range(3)),
        "variables.index",
    ]
    with c_api_loader(tmp_path / "2") as ways:
        actual = ways["c_api"]("serving_default", {"rows": np.array([2, 1])})
    # (4 + 5) * 3 and (2 + 3) * 3
    assert (actual["sum"].tolist(), actual["name"].tolist()) == ([27.0, 15.0], [b"b", b"a"])
    for path in (tmp_path / "2").rglob("*.*"):
        again = tmp_path / "3" / path.relative_to(tmp_path / "2")
        assert again.read_bytes() == path.read_bytes(), path


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"variables\.index cannot be read.*export again"):
        StoredVariables(tmp_path)


_IDS = [f"item {number}" for number in range(300)]


def test_rows_are_those_of_the_index_in_the_graph() -> None:
    lookup = IdLookup(IndexContents.of_ids(_IDS))
    asked = [_IDS[0], "stranger", _IDS[299], "", _IDS[150]]
    assert lookup.rows(asked).tolist() == IdIndex(_IDS, "x")(tf.constant(asked)).numpy().tolist()
    assert lookup.num_rows == 301


def test_ids_that_join_follow_the_others() -> None:
    lookup = IdLookup(IndexContents.of_ids(_IDS))
    lookup.add(["a", "b"])
    lookup.add(["c"])
    assert lookup.rows(["c", "a", _IDS[7]]).tolist() == [303, 301, 8]
    assert lookup.new_ids == ["a", "b", "c"]
    graph = IdIndex(_IDS, "x")
    values = lookup.variables("x")
    for variable in graph.variables:
        name = variable.name.removesuffix(":0")
        if name in values:
            variable.assign(values[name])
    assert graph(tf.constant(["c", "a", _IDS[7], "?"])).numpy().tolist() == [303, 301, 8, 0]


def test_an_empty_index_takes_ids() -> None:
    lookup = IdLookup(IndexContents.of_ids([]))
    assert lookup.rows(["a"]).tolist() == [0]
    lookup.add(["a"])
    np.testing.assert_array_equal(lookup.rows(["a", "b"]), [1, 0])


def test_a_known_id_cannot_join() -> None:
    with pytest.raises(IndexOverflow, match="hash of another one"):
        IdLookup(IndexContents.of_ids(_IDS)).add([_IDS[3]])
