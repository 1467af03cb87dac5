from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3

import pytest

from configs.command_line import CommandError, RejectedInput
from configs.contract_versions import CONTRACTS
from configs.data import Split
from preprocessing.records.layout import StepDirectory
from preprocessing.steps import Step, refuse_rejected, run_sources, settings_hash
from tests.preprocessing import shared_file_system


def small_step(path, **changed):
    """A step that writes one file and reports what it is told."""
    described = {
        "name": "encode item",
        "settings": {"seed": 1},
        "inputs": {"b": "2", "a": "1"},
        "build": build,
        "report": lambda run: dict(run.manifest["counts"]),
    }
    return Step(directory=StepDirectory(path), **{**described, **changed})


def manifest_of(step):
    return json.loads(step.directory.manifest.read_text())


def build(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("content")
    return {"counts": {"records_in": 1}}


def test_the_result_appears_whole_with_its_manifest(tmp_path):
    step = small_step(tmp_path / "work" / "item")
    result = step.run()
    assert result == {"records_in": 1, "seconds": result["seconds"], "skipped": False}
    manifest = manifest_of(step)
    assert manifest["step"] == "encode item" and manifest["counts"] == {"records_in": 1}
    assert manifest["code_version"] == f"encode {CONTRACTS['encode']}"
    assert manifest["inputs"] == {"a": "1", "b": "2"}
    # sha256sum of "content"
    digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert manifest["files"] == {"sub/file": {"sha256": digest, "bytes": 7}}
    # sha256sum of '[{"seed": 1}]'
    assert (
        manifest["config_hash"]
        == "3fdf9c9a4a27fa0d019b82e2e974524772fdacd3119246e90156c6ea4ef0c65b"
    )
    assert os.listdir(tmp_path / "work") == ["item"]


def test_little_space_is_told_before_the_work(tmp_path, capsys):
    large = tmp_path / "log.csv"
    with large.open("wb") as file:
        file.truncate(2**42)  # It lies there without its content.

    def told(folder):
        assert "warning: encode item may need 4,398,046.5 MB" in capsys.readouterr().err
        return build(folder)

    small_step(tmp_path / "work" / "item", inputs={str(large): "1"}, build=told).run()


def refuse(folder):
    raise AssertionError("must not run")


def test_an_unchanged_result_is_kept(tmp_path):
    first = small_step(tmp_path / "item")
    assert first.finished() is None
    first.run()
    again = small_step(tmp_path / "item", build=refuse)
    assert again.finished() == manifest_of(first)
    result = again.run()
    assert result["skipped"] and result["records_in"] == 1
    with pytest.raises(AssertionError, match="must not run"):
        again.run(force=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "encode user"},
        {"settings": {"seed": 2}},
        {"inputs": {"a": "1"}},
        {"inputs": {"a": "1", "b": "3"}},
    ],
)
def test_any_change_runs_the_step_again(tmp_path, changed):
    small_step(tmp_path / "item").run()
    assert small_step(tmp_path / "item", **changed).run()["skipped"] is False


def test_another_contract_runs_the_step_again(tmp_path, monkeypatch):
    small_step(tmp_path / "item").run()
    monkeypatch.setitem(CONTRACTS, "examples", CONTRACTS["examples"] + 1)
    assert small_step(tmp_path / "item").run()["skipped"]
    monkeypatch.setitem(CONTRACTS, "encode", CONTRACTS["encode"] + 1)
    assert not small_step(tmp_path / "item").run()["skipped"]


def test_settings_hash_alike_whatever_their_order():
    first, second, changed = (Split(seed=seed) for seed in (1, 1, 2))
    assert settings_hash({"data": first, "cap": 3}) == settings_hash({"cap": 3, "data": second})
    assert settings_hash({"data": first}) != settings_hash({"data": changed})
    assert settings_hash({"tables": {"x": first}}) != settings_hash({"tables": {"x": changed}})


def test_sources_run_one_after_the_other_and_are_skipped_together(tmp_path):
    steps = {name: small_step(tmp_path / name, name=f"encode {name}") for name in ("item", "user")}
    steps["item"].run()
    results = [run_sources("encode", steps, force=False, started=0.0) for _ in range(2)]
    assert [result["skipped"] for result in results] == [False, True]
    assert [source["skipped"] for source in results[0]["sources"].values()] == [True, False]
    assert list(results[0]["sources"]) == ["item", "user"]


@pytest.mark.parametrize("damage", ["delete", "change", "add", "manifest", "list"])
def test_a_damaged_result_is_made_again(tmp_path, damage):
    step = small_step(tmp_path / "step")
    step.run()
    directory = step.directory
    file = directory.path / "sub" / "file"
    if damage == "delete":
        file.unlink()
    elif damage == "change":
        file.write_text("Content")
    elif damage == "add":
        (directory.path / "stray").touch()
    else:
        directory.manifest.write_text("{" if damage == "manifest" else "[]")
    assert not step.run()["skipped"]
    assert file.read_text() == "content" and list(manifest_of(step)["files"]) == ["sub/file"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    for name in (".step.partial", ".step.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    small_step(tmp_path / "step").run()
    assert os.listdir(tmp_path) == ["step"]


def test_a_failing_step_leaves_the_earlier_result(tmp_path):
    small_step(tmp_path / "step").run()

    def fail(folder):
        build(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        small_step(tmp_path / "step", build=fail).run(force=True)
    assert os.listdir(tmp_path) == ["step"]
    assert (tmp_path / "step" / "sub" / "file").read_text() == "content"
    assert small_step(tmp_path / "step", build=refuse).run()["skipped"]


def test_two_writers_are_kept_apart(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(CommandError, match="another preprocessing run writes here"):
        small_step(tmp_path / "step").run()
    os.close(descriptor)
    small_step(tmp_path / "step").run()


def test_errors_of_a_full_disk_say_where(tmp_path):
    def fill(_):
        raise OSError(errno.ENOSPC, "full")

    def fill_database(_):
        with sqlite3.connect(":memory:") as database:
            database.execute("PRAGMA max_page_count = 2")
            database.execute("CREATE TABLE t (x)")
            database.execute("INSERT INTO t VALUES (zeroblob(100000))")

    def misread(_):
        sqlite3.connect(":memory:").execute("SELECT CAST(x'ff' AS TEXT)").fetchone()

    for build in (fill, fill_database):
        with pytest.raises(OSError) as full:
            small_step(tmp_path / "step", build=build).run()
        assert (full.value.errno, full.value.filename) == (errno.ENOSPC, str(tmp_path))
    with pytest.raises(sqlite3.OperationalError, match="decode"):
        small_step(tmp_path / "step", build=misread).run()


def test_strict_names_the_files_with_rejected_records(tmp_path):
    clean, dirty = StepDirectory(tmp_path / "clean"), StepDirectory(tmp_path / "dirty")
    for directory, text in ((clean, ""), (dirty, "{}\n")):
        directory.path.mkdir()
        directory.dead_letters.write_text(text)
    refuse_rejected([clean], {})
    with pytest.raises(RejectedInput, match="dirty/dead_letters.jsonl") as raised:
        refuse_rejected([clean, dirty], {"step": "x"})
    assert raised.value.result == {"step": "x"}


def test_a_dry_run_knows_the_sizes_of_files_and_urls(tmp_path, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    (tmp_path / "bucket").mkdir()
    (tmp_path / "bucket" / "log.csv").write_bytes(b"1234567")
    (tmp_path / "items.csv").write_bytes(b"123")
    inputs = {"shared://bucket/log.csv": "1", str(tmp_path / "items.csv"): "2"}
    described = small_step(tmp_path / "step", inputs=inputs).dry_run(force=False)
    assert described["inputs"] == {str(tmp_path / "items.csv"): 3, "shared://bucket/log.csv": 7}
