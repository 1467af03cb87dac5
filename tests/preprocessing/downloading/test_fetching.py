from __future__ import annotations

import random
import shutil

import pytest

from configs.command_line import CommandError
from preprocessing.downloading.data_sets import GZIP, RemoteFile
from preprocessing.downloading.fetching import NotThere, fetch
from tests.ports import free_port
from tests.preprocessing.downloading.file_server import FileServer, file_server

CONTENT = GZIP + random.Random(1).randbytes(1_000_000)


@pytest.fixture
def server():
    with file_server() as running:
        running.add("a.gz", CONTENT)
        yield running


def remote(server: FileServer, *paths: str) -> RemoteFile:
    return RemoteFile("a.gz", tuple(f"{server.url}/{path}" for path in paths or ("a.gz",)), GZIP)


def test_a_file_is_fetched_as_it_is(server, tmp_path):
    # Some servers call a .gz file the gzip encoding of something else: it must stay compressed.
    server.headers["/a.gz"] = {"Content-Encoding": "gzip"}
    path, address = fetch(remote(server), tmp_path)
    assert path == tmp_path / "a.gz" and address == f"{server.url}/a.gz"
    assert path.read_bytes() == CONTENT
    assert {file.name for file in tmp_path.iterdir()} == {"a.gz", "a.gz.json"}
    fetch(remote(server), tmp_path)
    assert len(server.seen) == 1


def test_a_cut_off_file_goes_on_where_it_ended(server, tmp_path):
    server.cuts["/a.gz"] = [300_000, 200_000]
    path, _ = fetch(remote(server), tmp_path, delay_seconds=0)
    assert path.read_bytes() == CONTENT
    assert [asked for _, asked in server.seen] == [None, "bytes=300000-", "bytes=500000-"]


def test_the_next_run_goes_on_too(server, tmp_path):
    server.cuts["/a.gz"] = [600_000, 0, 0, 0]
    with pytest.raises(CommandError, match=r"600,000 bytes are kept. Run the same command again"):
        fetch(remote(server), tmp_path, delay_seconds=0)
    assert (tmp_path / "a.gz.partial").stat().st_size == 600_000
    server.seen.clear()
    path, _ = fetch(remote(server), tmp_path, delay_seconds=0)
    assert path.read_bytes() == CONTENT
    assert server.seen == [("/a.gz", "bytes=600000-")]


def test_a_run_that_was_killed_at_the_last_moment_asks_nothing_again(server, tmp_path):
    path, _ = fetch(remote(server), tmp_path)
    path.rename(tmp_path / "a.gz.partial")
    server.seen.clear()
    path, _ = fetch(remote(server), tmp_path)
    assert path.read_bytes() == CONTENT and server.seen == []


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    server.cuts["/a.gz"] = [600_000, 0, 0, 0]
    with pytest.raises(CommandError):
        fetch(remote(server), tmp_path, delay_seconds=0)
    changed = GZIP + random.Random(2).randbytes(500_000)
    server.add("a.gz", changed)
    path, _ = fetch(remote(server), tmp_path, delay_seconds=0)
    assert path.read_bytes() == changed


@pytest.mark.parametrize("lack", ["ranges", "validators"])
def test_servers_that_cannot_go_on_start_again(server, tmp_path, lack):
    setattr(server, lack, False)
    server.cuts["/a.gz"] = [300_000]
    path, _ = fetch(remote(server), tmp_path, delay_seconds=0)
    assert path.read_bytes() == CONTENT


def test_starting_again_and_again_is_no_progress(server, tmp_path):
    server.validators = False
    server.cuts["/a.gz"] = [100_000, 200_000, 300_000, 400_000, 500_000]
    server.add("b.gz", CONTENT)
    _, address = fetch(remote(server, "a.gz", "b.gz"), tmp_path, delay_seconds=0)
    assert address == f"{server.url}/b.gz"
    assert [path for path, _ in server.seen] == ["/a.gz"] * 3 + ["/b.gz"]


def test_only_bytes_that_can_be_used_are_called_kept(server, tmp_path, capsys):
    server.validators = False
    server.cuts["/a.gz"] = [300_000] * 3
    with pytest.raises(NotThere, match=r"the next run begins at byte 0.*no validator"):
        fetch(remote(server), tmp_path, delay_seconds=0)
    told = capsys.readouterr().err
    assert "trying again from byte 0" in told and "300,000;" not in told
    server.seen.clear()
    path, _ = fetch(remote(server), tmp_path, delay_seconds=0)
    assert path.read_bytes() == CONTENT and server.seen == [("/a.gz", None)]


def test_the_next_address_is_asked(server, tmp_path):
    _, address = fetch(remote(server, "none.gz", "a.gz"), tmp_path)
    assert address == f"{server.url}/a.gz"


def test_a_partial_file_goes_on_at_its_own_address(server, tmp_path):
    server.cuts["/a.gz"] = [600_000, 0, 0, 0]
    both = remote(server, "late.gz", "a.gz")
    with pytest.raises(CommandError):
        fetch(both, tmp_path, delay_seconds=0)
    server.add("late.gz", CONTENT)
    server.seen.clear()
    fetch(both, tmp_path, delay_seconds=0)
    assert server.seen == [("/a.gz", "bytes=600000-")]


def test_a_busy_server_is_asked_again_and_then_given_up(server, tmp_path):
    server.statuses["/a.gz"] = [503, 503]
    path, _ = fetch(remote(server), tmp_path, delay_seconds=0)
    assert path.read_bytes() == CONTENT
    path.unlink()
    server.statuses["/a.gz"] = [503] * 3
    with pytest.raises(NotThere, match="HTTP 503"):
        fetch(remote(server), tmp_path, delay_seconds=0)


def test_what_is_not_there_says_so(server, tmp_path):
    with pytest.raises(NotThere, match=r"/none.gz: HTTP 404"):
        fetch(remote(server, "none.gz"), tmp_path)
    server.add("a.gz", b"<html>Please log in</html>")
    with pytest.raises(NotThere, match=r"something else than a.gz, perhaps a web page"):
        fetch(remote(server), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nobody_answers(tmp_path):
    nowhere = RemoteFile("a.gz", (f"http://127.0.0.1:{free_port()}/a.gz",), GZIP)
    with pytest.raises(NotThere, match=r"cannot be reached \(ConnectionRefusedError"):
        fetch(nowhere, tmp_path)


def test_a_full_disk_is_told_before_it_is_full(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(CommandError, match=r"0.0 GB are to come.*name another folder with --out"):
        fetch(remote(server), tmp_path)
