from __future__ import annotations

import hashlib
import random
import shutil
import warnings
import zipfile
from pathlib import Path

import pytest

from configs.command_line import CommandError
from preprocessing.downloading.data_sets import GZIP, ZIP, RemoteFile
from preprocessing.downloading.fetching import (
    NotThere,
    extract,
    fetch,
    file_checksums,
    published_md5,
    require_md5,
)
from tests.ports import free_ports
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
    with free_ports(1) as (port,):
        nowhere = RemoteFile("a.gz", (f"http://127.0.0.1:{port}/a.gz",), GZIP)
        with pytest.raises(NotThere, match=r"cannot be reached \(ConnectionRefusedError"):
            fetch(nowhere, tmp_path)


def test_a_full_disk_is_told_before_it_is_full(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(CommandError, match=r"0.0 GB are to come.*name another folder with --out"):
        fetch(remote(server), tmp_path)


PUBLISHED = b"PK some archive"
MD5 = hashlib.md5(PUBLISHED).hexdigest()


def test_checksums_of_a_file(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(PUBLISHED)
    actual = file_checksums(path)
    assert (actual.bytes, actual.md5) == (15, MD5)
    assert actual.sha256 == hashlib.sha256(PUBLISHED).hexdigest()


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (f"MD5 (a.zip) = {MD5}\n", MD5),
        (f"{MD5.upper()}  a.zip\n", MD5),
        ("<html>moved</html>", None),
        (None, None),
    ],
)
def test_the_md5_beside_a_file(written, expected):
    with file_server() as server:
        if written is not None:
            server.files["/a.zip.md5"] = written.encode()
        beside = RemoteFile("a.zip", (), b"PK", md5_beside=True)
        assert published_md5(beside, f"{server.url}/a.zip") == expected
        assert published_md5(RemoteFile("a.zip", (), b"PK"), f"{server.url}/a.zip") is None
        known = RemoteFile("a.zip", (), b"PK", md5="1" * 32, md5_beside=True)
        assert published_md5(known, f"{server.url}/a.zip") == "1" * 32


def test_a_file_that_differs_is_removed(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(PUBLISHED)
    actual = file_checksums(path)
    require_md5(path, actual, MD5, "http://host/a.zip")
    assert path.exists()
    with pytest.raises(CommandError, match=f"has the MD5 {MD5}, its publisher says 1111"):
        require_md5(path, actual, "1" * 32, "http://host/a.zip")
    assert not path.exists()


REMOTE = RemoteFile(
    "a.zip", (), ZIP, members={"ml/ratings.csv": "ratings.csv"}, optional_members={"ml/R": "README"}
)


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as written:
        for name, content in members.items():
            written.writestr(name, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    inside = tmp_path / "inside"
    inside.mkdir()
    return inside


def test_expected_members_come_out_under_our_names(tmp_path, folder):
    members = {"ml/": b"", "ml/ratings.csv": b"1,2\n", "ml/R": b"read", "ml/links.csv": b"no"}
    extracted = extract(archive(tmp_path / "a.zip", members), REMOTE, folder)
    assert [path.name for path in extracted] == ["ratings.csv", "README"]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "ratings.csv": b"1,2\n",
        "README": b"read",
    }


def test_optional_members_may_be_missing(tmp_path, folder):
    extract(archive(tmp_path / "a.zip", {"ml/ratings.csv": b"1"}), REMOTE, folder)
    assert [path.name for path in folder.iterdir()] == ["ratings.csv"]


@pytest.mark.parametrize("evil", ["../evil.csv", "/evil.csv", "ml/../../evil.csv", "..\\evil.csv"])
def test_an_archive_that_leads_out_of_the_folder_is_refused(tmp_path, folder, evil):
    members = {"ml/ratings.csv": b"1", evil: b"evil"}
    with pytest.raises(CommandError, match=r"refused, because a member's path leads out"):
        extract(archive(tmp_path / "a.zip", members), REMOTE, folder)
    assert not list(folder.iterdir()) and not (tmp_path / "evil.csv").exists()


def test_a_bomb_is_refused(tmp_path, folder):
    path = archive(tmp_path / "a.zip", {"ml/ratings.csv": b"0" * 10_000_000})
    with pytest.raises(CommandError, match=r"would grow to 10,000,000 bytes"):
        extract(path, REMOTE, folder)


def test_a_name_that_occurs_twice_is_refused(tmp_path, folder):
    with warnings.catch_warnings(), zipfile.ZipFile(tmp_path / "a.zip", "w") as written:
        warnings.simplefilter("ignore")
        written.writestr("ml/ratings.csv", b"1")
        written.writestr("ml/ratings.csv", b"2")
    with pytest.raises(CommandError, match=r"two members 'ml/ratings.csv'"):
        extract(tmp_path / "a.zip", REMOTE, folder)


def test_a_link_is_written_as_a_plain_file(tmp_path, folder):
    link = zipfile.ZipInfo("ml/ratings.csv")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as written:
        written.writestr(link, b"/etc/passwd")
    (path,) = extract(tmp_path / "a.zip", REMOTE, folder)
    assert not path.is_symlink() and path.read_bytes() == b"/etc/passwd"


def test_missing_members_and_damage_are_told(tmp_path, folder):
    with pytest.raises(CommandError, match=r"lacks ml/ratings.csv; it holds other.csv"):
        extract(archive(tmp_path / "a.zip", {"other.csv": b"1"}), REMOTE, folder)
    path = archive(tmp_path / "b.zip", {"ml/ratings.csv": bytes(range(256)) * 20})
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(CommandError, match=r"b.zip: not a whole zip archive"):
        extract(path, REMOTE, folder)
    path.write_bytes(content[:100])
    with pytest.raises(CommandError, match=r"b.zip: not a whole zip archive"):
        extract(path, REMOTE, folder)


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_damage_anywhere_is_told_or_harmless_whatever_the_compression(
    tmp_path, folder, compression
):
    path, ratings = tmp_path / "a.zip", bytes(range(64))
    with zipfile.ZipFile(path, "w", compression) as written:
        written.writestr("ml/ratings.csv", ratings)
    with zipfile.ZipFile(path) as opened:
        begin = 30 + len("ml/ratings.csv")
        end = begin + opened.getinfo("ml/ratings.csv").compress_size
    content = path.read_bytes()
    told = 0
    for place in range(begin, end):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            extract(path, REMOTE, folder)
            assert (folder / "ratings.csv").read_bytes() == ratings
        except CommandError as error:
            assert "a.zip: not a whole zip archive" in str(error)
            told += 1
    assert told >= 0.9 * (end - begin)  # LZMA begins with its version, which nobody reads


def test_an_encrypted_member_is_told(tmp_path, folder):
    path = archive(tmp_path / "a.zip", {"ml/ratings.csv": b"1,2"})
    content = bytearray(path.read_bytes())
    # Bit 0 of the general purpose flags, in the local and in the central header.
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(CommandError, match=r"a.zip: .*'ml/ratings.csv'.*is encrypted"):
        extract(path, REMOTE, folder)


@pytest.mark.parametrize(("field", "value"), [(6, 0xEB), (8, 0x08), (10, 0x63)])
def test_a_directory_that_cannot_be_read_is_told(tmp_path, folder, field, value):
    path = archive(tmp_path / "a.zip", {"ml/ratings.csv": b"1,2", "ü": b"3"})
    content = bytearray(path.read_bytes())
    # Version needed, flags and compression of the second member; its name is no UTF-8.
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 46] = 0xFF
    content[entry + field] = value
    content[entry + 9] |= 0x08
    path.write_bytes(content)
    with pytest.raises(CommandError, match=r"a.zip: not a whole zip archive"):
        extract(path, REMOTE, folder)


def test_a_full_disk_is_not_called_a_damaged_archive(tmp_path):
    path = archive(tmp_path / "a.zip", {"ml/ratings.csv": b"1,2"})
    with pytest.raises(FileNotFoundError):
        extract(path, REMOTE, tmp_path / "missing")
