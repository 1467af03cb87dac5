from __future__ import annotations

import fcntl
import json
import os

import pytest

from configs.command_line import CommandError, RejectedInput
from preprocessing.records.layout import StepDirectory
from preprocessing.steps import StepIdentity, describe_step, refuse_rejected, run_step
from tests.preprocessing import shared_file_system

IDENTITY = StepIdentity("step", "config", "code", {"b": "2", "a": "1"})


def build(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("content")
    return {"counts": {"records_in": 1}}


def test_the_result_appears_whole_with_its_manifest(tmp_path):
    directory = StepDirectory(tmp_path / "work" / "step")
    manifest, skipped = run_step(directory, IDENTITY, build)
    assert not skipped
    assert json.loads(directory.manifest.read_text()) == manifest
    assert manifest["inputs"] == {"a": "1", "b": "2"}
    # sha256sum of "content"
    digest = "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
    assert manifest["files"] == {"sub/file": {"sha256": digest, "bytes": 7}}
    assert os.listdir(tmp_path / "work") == ["step"]


def test_little_space_is_told_before_the_work(tmp_path, capsys):
    large = tmp_path / "log.csv"
    with large.open("wb") as file:
        file.truncate(2**42)  # It lies there without its content.
    identity = StepIdentity("step", "config", "code", {str(large): "1"})

    def told(folder):
        assert "warning: step may need 4,398,046.5 MB" in capsys.readouterr().err
        return build(folder)

    run_step(StepDirectory(tmp_path / "work" / "step"), identity, told)


def refuse(folder):
    raise AssertionError("must not run")


def test_an_unchanged_result_is_kept(tmp_path):
    directory = StepDirectory(tmp_path / "step")
    manifest, _ = run_step(directory, IDENTITY, build)
    assert run_step(directory, IDENTITY, refuse) == (manifest, True)


@pytest.mark.parametrize(
    "changed",
    [
        StepIdentity("other", "config", "code", IDENTITY.inputs),
        StepIdentity("step", "other", "code", IDENTITY.inputs),
        StepIdentity("step", "config", "other", IDENTITY.inputs),
        StepIdentity("step", "config", "code", {"a": "1"}),
        StepIdentity("step", "config", "code", {"a": "1", "b": "3"}),
    ],
)
def test_any_change_runs_the_step_again(tmp_path, changed):
    directory = StepDirectory(tmp_path / "step")
    run_step(directory, IDENTITY, build)
    assert run_step(directory, changed, build)[1] is False


@pytest.mark.parametrize("damage", ["delete", "change", "add", "manifest", "list"])
def test_a_damaged_result_is_made_again(tmp_path, damage):
    directory = StepDirectory(tmp_path / "step")
    run_step(directory, IDENTITY, build)
    file = directory.path / "sub" / "file"
    if damage == "delete":
        file.unlink()
    elif damage == "change":
        file.write_text("Content")
    elif damage == "add":
        (directory.path / "stray").touch()
    else:
        directory.manifest.write_text("{" if damage == "manifest" else "[]")
    manifest, skipped = run_step(directory, IDENTITY, build)
    assert not skipped
    assert file.read_text() == "content" and list(manifest["files"]) == ["sub/file"]


def test_leftovers_of_a_killed_run_are_removed(tmp_path):
    for name in (".step.partial", ".step.replaced"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").touch()
    run_step(StepDirectory(tmp_path / "step"), IDENTITY, build)
    assert os.listdir(tmp_path) == ["step"]


def test_a_failing_step_leaves_the_earlier_result(tmp_path):
    directory = StepDirectory(tmp_path / "step")
    run_step(directory, IDENTITY, build)

    def fail(folder):
        build(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step(directory, IDENTITY, fail, force=True)
    assert os.listdir(tmp_path) == ["step"]
    assert (directory.path / "sub" / "file").read_text() == "content"
    assert run_step(directory, IDENTITY, refuse)[1]


def test_two_writers_are_kept_apart(tmp_path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with pytest.raises(CommandError, match="another preprocessing run writes here"):
        run_step(StepDirectory(tmp_path / "step"), IDENTITY, build)
    os.close(descriptor)
    run_step(StepDirectory(tmp_path / "step"), IDENTITY, build)


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
    identity = StepIdentity("step", "config", "code", inputs)
    described = describe_step(StepDirectory(tmp_path / "step"), identity, force=False)
    assert described["inputs"] == {str(tmp_path / "items.csv"): 3, "shared://bucket/log.csv": 7}
