from __future__ import annotations

from pathlib import Path

import pytest

from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory, shard_files


def test_paths_are_those_of_the_contract():
    work = WorkDirectory("out")
    assert work.knowledge("item").shard(0, 2) == Path(
        "out/knowledge/item/part-00000-of-00002.tfrecord.gz"
    )
    assert work.knowledge("item").manifest == Path("out/knowledge/item/manifest.json")
    assert work.knowledge("item").dead_letters == Path("out/knowledge/item/dead_letters.jsonl")
    assert work.examples.shard("test", 1, 2) == Path(
        "out/examples/ctr/test/part-00001-of-00002.tfrecord.gz"
    )
    assert work.examples.item_attributes == Path("out/examples/item_attributes.parquet")
    assert work.examples.vocabulary("genres") == Path("out/examples/vocabularies/genres.txt")
    assert work.examples.schema == Path("out/examples/schema.pbtxt")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


def test_shards_come_in_order_and_other_files_are_left_out(tmp_path):
    touch(tmp_path, "part-00001-of-00002.tfrecord.gz", "part-00000-of-00002.tfrecord.gz")
    touch(tmp_path, "manifest.json", "part-00000-of-00002.tfrecord.gz.partial")
    assert [path.name for path in shard_files(tmp_path)] == [
        "part-00000-of-00002.tfrecord.gz",
        "part-00001-of-00002.tfrecord.gz",
    ]


@pytest.mark.parametrize(
    "names",
    [
        ["part-00001-of-00002.tfrecord.gz"],
        ["part-00000-of-00002.tfrecord.gz", "part-00000-of-00001.tfrecord.gz"],
        ["part-00000-of-00003.tfrecord.gz", "part-00002-of-00003.tfrecord.gz"],
    ],
)
def test_an_incomplete_set_is_refused(tmp_path, names):
    touch(tmp_path, *names)
    with pytest.raises(DamagedRecords, match="incomplete"):
        shard_files(tmp_path)


def test_no_shards_are_explained(tmp_path):
    with pytest.raises(DamagedRecords, match="run 'python -m preprocessing all'"):
        WorkDirectory(tmp_path).examples.shards("train")


def test_vectors_without_a_fold_have_folders_of_their_own(tmp_path):
    directory = WorkDirectory(tmp_path).knowledge("rated")
    assert not directory.is_cross_fitted
    folder = tmp_path / "knowledge" / "rated" / "without_fold_0"
    folder.mkdir(parents=True)
    touch(folder, "part-00000-of-00001.tfrecord.gz")
    assert directory.is_cross_fitted
    assert directory.shards_without_fold(0) == [folder / "part-00000-of-00001.tfrecord.gz"]
    with pytest.raises(DamagedRecords, match="without_fold_1: no TFRecord files"):
        directory.shards_without_fold(1)
