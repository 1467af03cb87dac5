from __future__ import annotations

import gzip
import json

import pytest

from configs.command_line import CommandError
from preprocessing.inspection.inspect import Kind, kind_of, read_manifest, step_folders
from preprocessing.records.tfrecord_file import write_records

MANIFEST = {"step": "examples", "files": {"a": {"sha256": "", "bytes": 0}}}


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a", b"PAR1....", Kind.PARQUET),
        ("a.npz", b"PK\3\4", Kind.ARRAYS),
        ("a", b"", Kind.EMPTY),
        ("a.gz", gzip.compress(b"", mtime=0), Kind.EMPTY),
        ("a", json.dumps(MANIFEST, indent=2).encode(), Kind.MANIFEST),
        ("a", json.dumps(MANIFEST).encode(), Kind.MANIFEST),
        ("a", b'{"file": "a", "line": 1, "reason": "x"}\n', Kind.DEAD_LETTERS),
        ("a", b'\n{"prompt": "x", "custom_id": "y"}\n{', Kind.PROMPTS),
        ("a.gz", gzip.compress(b'{"prompt": "x", "answer": "y"}\n', mtime=0), Kind.ANSWERS),
        ("a", b'{"1": {"prompt": "x"}}', Kind.ANSWERS),
        ("a", b'feature {\n  name: "x"\n}\n', Kind.SCHEMA),
        ("a.csv", b"item_id,group_id\n", Kind.TABLE),
        ("a.txt", b"Crime, Drama\n", Kind.VALUES),
        ("a.txt", ("é" * 40_000).encode(), Kind.VALUES),
    ],
)
def test_content_tells_the_kind(tmp_path, name, content, kind):
    path = tmp_path / name
    path.write_bytes(content)
    assert kind_of(path) is kind


def test_record_files_of_any_name(tmp_path):
    path = tmp_path / "anything"
    write_records(path, [b"record"])
    assert kind_of(path) is Kind.TFRECORD


def test_steps_are_found_one_or_two_levels_down(tmp_path):
    for name in ("examples", "knowledge/item", "runs/a/b", ".examples.partial", "other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "manifest.json").write_text(json.dumps(MANIFEST))
    (tmp_path / "other" / "manifest.json").write_text(json.dumps({"name": "not a step"}))
    names = [folder.relative_to(tmp_path).as_posix() for folder in step_folders(tmp_path)]
    assert names == ["examples", "knowledge/item"]
    assert kind_of(tmp_path) is Kind.WORK_DIRECTORY
    assert kind_of(tmp_path / "examples") is Kind.STEP
    (tmp_path / "examples" / "manifest.json").write_text("{")
    assert len(step_folders(tmp_path)) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("{}", "not a manifest"),
        ('{"step": "x", "files": {"a": 3}}', "not a manifest"),
        ('{"step": "x", "files": {"a": {"bytes": 3}}}', "not a manifest"),
    ],
)
def test_a_manifest_must_be_whole(tmp_path, content, message):
    path = tmp_path / "manifest.json"
    path.write_text(content)
    with pytest.raises(CommandError, match=message):
        read_manifest(path)
    with pytest.raises(CommandError, match="cannot be read"):
        read_manifest(tmp_path / "none")
