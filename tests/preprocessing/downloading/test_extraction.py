from __future__ import annotations

import warnings
import zipfile
from pathlib import Path

import pytest

from configs.command_line import CommandError
from preprocessing.downloading.data_sets import ZIP, RemoteFile
from preprocessing.downloading.extraction import extract

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
