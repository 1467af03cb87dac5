from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.contract_versions import contract_version
from preprocessing.records.layout import WorkDirectory
from serving.export_manifest import (
    MANIFEST,
    DamagedExport,
    read_manifest,
    verify_manifest,
    write_manifest,
)
from tests.serving.exports import exported

DATA = "variables/variables.data-00000-of-00001"


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """A version folder with a manifest, which the test may change."""
    export = exported()
    folder = tmp_path / "1"
    shutil.copytree(export.path, folder)
    (folder / MANIFEST).unlink(missing_ok=True)
    run = export.run
    write_manifest(folder, run.folder, run.scenario, run.model.kind, "float32", None)
    return folder


def test_it_says_what_the_version_is(version: Path) -> None:
    manifest = verify_manifest(version)
    run = exported().run
    assert manifest == read_manifest(version) == json.loads((version / MANIFEST).read_text())
    assert (manifest["format_version"], manifest["run"]) == (1, run.folder.path.name)
    assert (manifest["scenario"], manifest["id_type"]) == ("tiny", "string")
    assert manifest["number_format"] == "float32"
    assert manifest["proof"] is None
    assert manifest["trained_by_code_version"] == contract_version("training")
    assert manifest["model"] == {
        "kind": "ctr",
        "backbone": "din",
        "adapter": "hein",
        "match": "none",
        "prior": False,
        "tasks": [],
        "knowledge_sources": ["item", "user"],
    }
    work = WorkDirectory(run.scenario.work_dir)
    assert manifest["fingerprint"] == {
        "examples": _sha256(work.examples.manifest),
        "knowledge/item": _sha256(work.knowledge("item").manifest),
        "knowledge/user": _sha256(work.knowledge("user").manifest),
    }
    written = datetime.fromisoformat(manifest["created"])
    assert abs((datetime.now(UTC) - written).total_seconds()) < 3600


def test_signatures_and_variables_are_listed(version: Path) -> None:
    manifest = read_manifest(version)
    rank = manifest["signatures"]["rank"]
    assert rank["method"] == "tensorflow/serving/predict"
    assert rank["inputs"]["user_id"] == {"dtype": "string", "shape": [1]}
    assert rank["inputs"]["history_rating"] == {"dtype": "float32", "shape": [1, None]}
    assert rank["outputs"] == {"score": {"dtype": "float32", "shape": [None]}}
    assert manifest["signatures"]["classify"]["method"] == "tensorflow/serving/classify"
    assert set(manifest["signatures"]) == set(exported().loaded.signatures)
    tables = [info["shape"] for name, info in manifest["variables"].items() if "/_tables/" in name]
    # Items with knowledge and the missing one, and users likewise, of the width of HEIN's vectors.
    assert all(len(shape) == 2 for shape in tables)
    assert {shape[1] for shape in tables} == {8}


def test_every_other_file_is_listed_with_its_checksum(version: Path) -> None:
    files = read_manifest(version)["files"]
    actual = {path for path in version.rglob("*") if path.is_file()}
    assert {version / name for name in files} == actual - {version / MANIFEST}
    assert {"saved_model.pb", DATA, "assets.extra/tf_serving_warmup_requests"} <= set(files)
    for name, listed in files.items():
        content = (version / name).read_bytes()
        assert listed == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "is missing; copy the version folder anew"),
        (_cut_off, r"has [\d,]+ bytes, and the manifest says [\d,]+ \(cut off\?\)"),
        (
            lambda path: path.write_bytes(path.read_bytes() + b"x"),
            r"has [\d,]+ bytes, and the manifest says [\d,]+; copy",
        ),
        (_flip, "is not the file that was exported"),
    ],
)
@pytest.mark.parametrize("name", [DATA, "saved_model.pb"])
def test_a_damaged_file_is_named(
    version: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    damage(version / name)
    with pytest.raises(DamagedExport, match=f"{version / name} {message}"):
        verify_manifest(version)


def test_files_that_are_not_listed_do_not_matter(version: Path) -> None:
    (version / "assets.extra" / "notes.txt").write_text("ours")
    assert "assets.extra/notes.txt" not in verify_manifest(version)["files"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "lists no files"),
        ('{"format_version": 2, "files": {}}', "has format version 2, and this code reads 1"),
        (
            '{"format_version": 1, "files": {"../x": {"bytes": 1, "sha256": ""}}}',
            "lists '../x', outside its folder",
        ),
    ],
)
def test_an_unusable_manifest_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DamagedExport, match=f"manifest.json.* {message}"):
        verify_manifest(tmp_path)


def test_a_folder_without_one_is_no_export(tmp_path: Path) -> None:
    with pytest.raises(DamagedExport, match="name a version folder that 'python -m serving export"):
        read_manifest(tmp_path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
