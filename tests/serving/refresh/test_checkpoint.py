from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from models.vector_tables import growing_table
from serving.id_index import IdIndex, IndexContents, IndexOverflow
from serving.proof.result import c_api_loader
from serving.refresh import checkpoint
from serving.refresh.checkpoint import IdLookup, StoredVariables


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
    monkeypatch.setattr(checkpoint, "_BYTES_AT_ONCE", 30)
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
