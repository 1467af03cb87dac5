import os
import signal
import subprocess
import sys

import pytest

from preprocessing import storage
from tests.preprocessing import shared_file_system


@pytest.fixture(params=["local", "url"])
def root(request, tmp_path, monkeypatch):
    monkeypatch.setenv(shared_file_system.FOLDER_VARIABLE, str(tmp_path))
    return str(tmp_path / "bucket") if request.param == "local" else "shared://bucket"


def write(path, data):
    with storage.create_bytes(path) as file:
        file.write(data)


def test_written_bytes_are_read_again(root):
    path = storage.join(root, "a/b.bin")
    write(path, b"\x00one")
    write(path, b"two")
    with storage.open_bytes(path) as file:
        assert file.read() == b"two"


def test_compressed_bytes_stay_as_they_are(root):
    path = storage.join(root, "a.gz")
    write(path, b"not compressed at all")
    with storage.open_bytes(path) as file:
        assert file.read() == b"not compressed at all"


def test_a_local_file_appears_complete_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), storage.create_bytes(str(path)) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_missing_file_is_an_os_error(root):
    with pytest.raises(OSError):
        storage.open_bytes(storage.join(root, "missing"))


def test_patterns_mean_sorted_files(root):
    for name in ("b.csv", "a.csv", "c.txt"):
        write(storage.join(root, name), b"x")
    files = [storage.join(root, name) for name in ("a.csv", "b.csv")]
    assert storage.matching_files(storage.join(root, "*.csv")) == files
    assert storage.matching_files(files[0]) == files[:1]
    assert storage.matching_files(storage.join(root, "*.parquet")) == []


def test_folders_are_listed_and_deleted_whole(root):
    write(storage.join(root, "step/one"), b"1")
    write(storage.join(root, "step/deeper/two"), b"2")
    write(storage.join(root, "other"), b"3")
    folder = storage.join(root, "step")
    assert storage.files_below(folder) == [
        storage.join(folder, "deeper/two"),
        storage.join(folder, "one"),
    ]
    storage.delete_folder(folder)
    storage.delete_folder(folder)
    assert storage.files_below(folder) == []
    assert storage.matching_files(storage.join(root, "other"))


def test_only_local_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert storage.absolute("a/b") == str(tmp_path / "a/b")
    assert storage.absolute("gs://bucket/a") == "gs://bucket/a"


def test_special_characters_of_patterns_in_a_folder_mean_themselves(root):
    folder = storage.join(root, "run[1]?*")
    write(storage.join(folder, "deeper/one"), b"1")
    write(storage.join(root, "run[1]ab/other"), b"2")
    assert storage.files_below(folder) == [storage.join(folder, "deeper/one")]
    storage.delete_folder(folder)
    assert storage.files_below(root) == [storage.join(root, "run[1]ab/other")]


def test_hidden_files_of_a_folder_are_listed(root):
    write(storage.join(root, ".hidden/.file"), b"1")
    assert storage.files_below(root) == [storage.join(root, ".hidden/.file")]


def test_a_size_is_that_of_the_stored_bytes(root):
    path = storage.join(root, "a.gz")
    write(path, b"12345")
    assert storage.size(path) == 5
    with pytest.raises(OSError):
        storage.size(storage.join(root, "missing"))


def test_two_attempts_at_one_file_do_not_disturb_each_other(tmp_path):
    path = tmp_path / "file"
    with storage.create_bytes(str(path)) as first, storage.create_bytes(str(path)) as second:
        first.write(b"first")
        second.write(b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["file"]


_KILLED_WHILE_WRITING = """
import os, signal, sys
from preprocessing import storage
with storage.create_bytes(sys.argv[1]) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_killed_processes_left_is_deleted_and_nothing_else(tmp_path):
    command = [sys.executable, "-c", _KILLED_WHILE_WRITING, str(tmp_path / "cache" / "killed")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    (left,) = (tmp_path / "cache").iterdir()
    assert storage.is_unfinished(str(left))
    others = {"note.partial": b"1", f"killed.{'x' * 32}.partial": b"2"}
    for name, data in others.items():
        (tmp_path / name).write_bytes(data)
    with storage.create_bytes(str(tmp_path / "cache" / "alive")) as file:
        storage.delete_unfinished(str(tmp_path))
        file.write(b"whole")
    assert (tmp_path / "cache" / "alive").read_bytes() == b"whole"
    assert {path.name for path in tmp_path.rglob("*")} == {"cache", "alive", *others}


def test_a_file_is_deleted_once(root):
    path = storage.join(root, "file")
    write(path, b"1")
    write(storage.join(root, "other"), b"2")
    for _ in range(2):
        storage.delete_file(path)
        assert storage.files_below(root) == [storage.join(root, "other")]
