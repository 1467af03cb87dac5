from __future__ import annotations

import os

import pytest

from configs.loading import ConfigurationError
from preprocessing.answers.importing import ImportFolder, writing, written_whole
from preprocessing.answers.record import Answer
from preprocessing.dead_letters import dead_letter
from tests.preprocessing.answers.small_files import read_lines


def write_all(folder: ImportFolder, count: int = 1) -> None:
    with writing(folder) as writer:
        for number in range(count):
            writer.write(Answer("item", str(number), "individual", "Größe"))
        writer.write(dead_letter("f", 1, "refusal", "d"))
        writer.finish({"read": count + 1})


@pytest.mark.parametrize("compressed", [False, True])
def test_three_files_and_nothing_else(tmp_path, compressed):
    folder = ImportFolder(tmp_path / "deep" / "out", compressed)
    write_all(folder, 2)
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "answers.jsonl.gz" if compressed else "answers.jsonl",
        "dead_letters.jsonl",
        "summary.json",
    ]
    assert [record["custom_id"] for record in read_lines(folder.answers)] == ["item/0", "item/1"]
    first = folder.answers.read_bytes()
    write_all(folder, 2)
    assert folder.answers.read_bytes() == first


def test_a_failed_import_leaves_the_earlier_one(tmp_path):
    folder = ImportFolder(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    write_all(folder, 1)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RuntimeError):
        with writing(folder) as writer:
            writer.write(Answer("item", "9", "individual", "new"))
            raise RuntimeError
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_leftovers_of_a_killed_import_and_answers_of_the_other_kind_go(tmp_path):
    (tmp_path / ".import.partial").mkdir()
    (tmp_path / ".import.partial" / "answers.jsonl").write_text("half")
    write_all(ImportFolder(tmp_path, compressed=True))
    write_all(ImportFolder(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {
        "answers.jsonl", "dead_letters.jsonl", "summary.json",
    }  # fmt: skip


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="this is a file; name a folder"):
        write_all(ImportFolder(tmp_path / "out"))
    with pytest.raises(ConfigurationError, match="this is a file"):
        with written_whole(tmp_path / "out", []):
            pass


@pytest.mark.parametrize("compressed", [False, True])
def test_a_full_disk_is_named_and_leaves_the_earlier_import(tmp_path, compressed):
    folder = ImportFolder(tmp_path, compressed)
    write_all(folder, 1)
    before = folder.answers.read_bytes()
    with pytest.raises(OSError, match="No space left on device: .*answers.jsonl"):
        with writing(folder) as writer:
            hidden = tmp_path / ".import.partial" / folder.answers.name
            descriptor = os.open("/dev/full", os.O_WRONLY)
            (number,) = [
                int(name)
                for name in os.listdir("/proc/self/fd")
                if os.path.realpath(f"/proc/self/fd/{name}") == str(hidden.resolve())
            ]
            os.dup2(descriptor, number)  # from now on the disk is full
            os.close(descriptor)
            for entity in range(300):
                writer.write(Answer("item", str(entity), "individual", os.urandom(99).hex()))
            writer.finish({"read": 300})
    assert folder.answers.read_bytes() == before


def test_files_appear_when_all_are_complete(tmp_path):
    out = tmp_path / "deep" / "out"
    with written_whole(out, ["a", "b"]) as hidden:
        (hidden / "a").write_text("1")
        (hidden / "b").write_text("2")
        assert not (out / "a").exists()
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "1", "b": "2"}
    with pytest.raises(RuntimeError):
        with written_whole(out, ["a"]) as hidden:
            (hidden / "a").write_text("new")
            raise RuntimeError
    assert {path.name: path.read_text() for path in out.iterdir()} == {"a": "1", "b": "2"}
