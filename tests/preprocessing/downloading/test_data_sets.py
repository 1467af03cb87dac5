from __future__ import annotations

import errno
import gzip
import hashlib
import io
import json
import os
import shlex
import zipfile
from pathlib import Path

import pytest

from configs.loading import load_scenario
from preprocessing.__main__ import main
from preprocessing.downloading.data_sets import (
    DATA_SETS,
    by_hand,
    default_folder,
    missing_data_advice,
    next_commands,
)
from tests.ports import free_ports
from tests.preprocessing.downloading.file_server import FileServer, file_server


@pytest.mark.parametrize("name", DATA_SETS)
@pytest.mark.parametrize("folder", [None, "else/where"])
def test_the_next_commands_read_files_that_are_fetched(name, folder, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    data_set = DATA_SETS[name]
    out = Path(folder) if folder else default_folder(data_set)
    prompts, examples, training = (shlex.split(command) for command in next_commands(data_set, out))
    assert prompts[:5] == ["python", "-m", "preprocessing", "prompts", "--config"]
    assert examples[3] == "examples" and training[2:4] == ["trainer", "train"]
    assert [*examples[5:], "--source", "links", "--dry-run"] == prompts[5:]
    assert [*examples[5:], "model.match=none", "model.prior=false"] == training[5:]
    config, *overrides = training[5:]
    scenario = load_scenario(config, overrides)
    assert scenario.knowledge_sources() == ()  # so no answers are read
    data = scenario.data
    tables = [data.interactions, data.catalogue, *([data.profiles] if data.profiles else [])]
    read = {path for table in tables for path in table.paths}
    assert read == {f"{out}/{file}" for file in data_set.tables.values()}
    assert set(data_set.tables.values()) <= set(data_set.files)


def test_addresses_are_encrypted_and_named_after_the_file():
    for data_set in DATA_SETS.values():
        for remote in data_set.remote:
            for address in remote.addresses:
                assert address.startswith("https://") and address.endswith(f"/{remote.name}")


def test_a_mirror_keeps_everything_but_the_address():
    (remote,) = DATA_SETS["movielens_1m"].remote
    mirrored = remote.at_mirror("http://host/folder/")
    assert mirrored.addresses == ("http://host/folder/ml-1m.zip",)
    assert (mirrored.md5, mirrored.members) == (remote.md5, remote.members)


def test_members_of_an_archive_and_the_next_command():
    text = by_hand(DATA_SETS["movielens_100k"], Path("data/movielens_100k"))
    assert "  https://files.grouplens.org/datasets/movielens/ml-100k.zip\n" in text
    assert "    ml-100k/u.data in it is data/movielens_100k/u.data\n" in text
    prompts = "python -m preprocessing prompts --config configs/movielens_100k.yaml"
    assert f"  {prompts} --source links --dry-run\n" in text
    assert "  python -m preprocessing examples --config configs/movielens_100k.yaml\n" in text


def test_files_that_stay_as_they_come_and_other_addresses():
    text = by_hand(DATA_SETS["amazon_books"], Path("books"))
    assert "    as it comes is books/Books_5.json.gz\n" in text
    assert text.count("    or https://") == 2 and "--mirror http://HOST/FOLDER" in text


def test_the_configuration_is_told_of_another_folder():
    for command in next_commands(DATA_SETS["movielens_100k"], Path("my data")):
        words = shlex.split(command)
        assert "data.interactions.path=my data/u.data" in words
        assert "data.catalogue.path=my data/u.item" in words
        assert "data.profiles.path=my data/u.user" in words
    for command in next_commands(DATA_SETS["movielens_100k"], Path("data/movielens_100k")):
        assert ".path=" not in command


@pytest.mark.parametrize(
    ("path", "data_set"),
    [
        ("data/goodbooks_10k/ratings.csv", "goodbooks_10k"),
        ("./data/amazon_books/*.gz", "amazon_books"),
        ("data/goodbooks_10k/answers/item/answers.jsonl", "goodbooks_10k"),
        ("data/mine/ratings.csv", None),
        ("elsewhere/goodbooks_10k/ratings.csv", None),
        ("ratings.csv", None),
        ("", None),
    ],
)
def test_a_missing_file_of_a_public_data_set_can_be_fetched(path, data_set, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    advice = missing_data_advice(path)
    assert (f"preprocessing download {data_set} " in advice) == (data_set is not None)
    assert bool(advice) == (data_set is not None)


def test_a_data_set_that_is_there_need_not_be_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "goodbooks_10k"
    folder.mkdir(parents=True)
    for name in DATA_SETS["goodbooks_10k"].files:
        assert missing_data_advice("data/goodbooks_10k/answers/answers.jsonl")
        (folder / name).write_text("")
    assert not missing_data_advice("data/goodbooks_10k/answers/answers.jsonl")


RATINGS = b"userId,movieId,rating,timestamp\n1,2,3.5,4\n"


def movielens_zip(ratings: bytes = RATINGS, **more: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ml-latest-small/ratings.csv", ratings)
        for name in ("movies.csv", "links.csv", "tags.csv", "README.txt", "genome.csv"):
            archive.writestr(f"ml-latest-small/{name}", name)
        for name, extra in more.items():
            archive.writestr(name, extra)
    return content.getvalue()


@pytest.fixture
def server():
    with file_server() as running:
        yield running


def download(capsys, server: FileServer | str, *arguments: object) -> tuple[int, dict, str]:
    url = server if isinstance(server, str) else server.url
    code = main(["download", *map(str, arguments), "--mirror", url, "--json"])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def serve_movielens(server: FileServer, content: bytes | None = None) -> bytes:
    content = content or movielens_zip()
    server.add("ml-latest-small.zip", content, hashlib.md5(content).hexdigest())
    return content


def test_an_archive_is_fetched_checked_and_unpacked_once(capsys, server, tmp_path):
    content = serve_movielens(server)
    out = tmp_path / "data" / "small"
    code, result, err = download(capsys, server, "movielens_small", "--out", out)
    assert code == 0 and not result["skipped"]
    (source,) = result["sources"]
    assert source["verified"] and source["bytes"] == len(content)
    assert source["sha256"] == hashlib.sha256(content).hexdigest()
    assert (out / "ratings.csv").read_bytes() == RATINGS
    files = {"ratings.csv", "movies.csv", "links.csv", "tags.csv", "README.txt"}
    assert {path.name for path in out.iterdir()} == files | {"download.json"}
    assert [path.name for path in out.parent.iterdir()] == ["small"]
    for command in result["next"]:
        assert "configs/movielens_latest.yaml" in command and command in err
        assert f"data.interactions.path={out}/ratings.csv" in command
    assert "no commercial use" in err

    server.seen.clear()
    code, result, err = download(capsys, server, "movielens_small", "--out", out)
    assert code == 0 and result["skipped"] and not server.seen and "already" in err


def test_files_are_not_replaced_without_force(capsys, server, tmp_path):
    serve_movielens(server)
    (tmp_path / "ratings.csv").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    code, _, err = download(capsys, server, "movielens_small", "--out", tmp_path)
    assert code == 1 and "holds ratings.csv already; add --force" in err and not server.seen
    assert (tmp_path / "ratings.csv").read_text() == "mine"
    code, _, _ = download(capsys, server, "movielens_small", "--out", tmp_path, "--force")
    assert code == 0 and (tmp_path / "ratings.csv").read_bytes() == RATINGS
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_wrong_checksum_leaves_nothing_behind(capsys, server, tmp_path):
    server.add("ml-latest-small.zip", movielens_zip(), "0" * 32)
    out = tmp_path / "small"
    code, result, err = download(capsys, server, "movielens_small", "--out", out)
    assert (code, result) == (1, {}) and f"its publisher says {'0' * 32}" in err
    assert not out.exists() and not list(tmp_path.rglob("*.zip"))
    serve_movielens(server)
    assert download(capsys, server, "movielens_small", "--out", out)[0] == 0


def test_without_a_published_checksum_it_is_called_unverified(capsys, server, tmp_path):
    server.add("ml-latest-small.zip", movielens_zip())
    code, result, err = download(capsys, server, "movielens_small", "--out", tmp_path / "small")
    assert code == 0 and not result["sources"][0]["verified"] and "unverified" in err


def test_a_cut_off_download_goes_on(capsys, server, tmp_path):
    content = serve_movielens(server)
    server.cuts["/ml-latest-small.zip"] = [100]
    code, _, err = download(capsys, server, "movielens_small", "--out", tmp_path / "small")
    assert code == 0 and "trying again from byte 100" in err
    assert server.seen[1] == ("/ml-latest-small.zip", "bytes=100-")
    assert len(content) > 100


def test_a_second_file_that_fails_keeps_the_first(capsys, server, tmp_path):
    books, catalogue = gzip.compress(b'{"asin": "1"}'), gzip.compress(b'{"title": "x"}')
    server.add("Books_5.json.gz", books)
    out = tmp_path / "books"
    code, _, err = download(capsys, server, "amazon_books", "--out", out)
    assert code == 1 and "meta_Books.json.gz: HTTP 404" in err and not out.exists()
    server.add("meta_Books.json.gz", catalogue)
    server.seen.clear()
    code, result, _ = download(capsys, server, "amazon_books", "--out", out)
    assert code == 0 and [path for path, _ in server.seen] == ["/meta_Books.json.gz"]
    assert (out / "Books_5.json.gz").read_bytes() == books
    assert (out / "meta_Books.json.gz").read_bytes() == catalogue
    assert [source["verified"] for source in result["sources"]] == [False, False]


def test_a_malicious_archive_is_refused(capsys, server, tmp_path):
    serve_movielens(server, movielens_zip(**{"../../evil.csv": b"evil"}))
    code, _, err = download(capsys, server, "movielens_small", "--out", tmp_path / "a" / "small")
    assert code == 1 and "leads out of the folder" in err
    assert not list(tmp_path.rglob("evil.csv")) and not (tmp_path / "a" / "small").exists()


def test_an_unreachable_publisher_means_advice(capsys, tmp_path):
    out = tmp_path / "ml"
    with free_ports(1) as (port,):
        url = f"http://127.0.0.1:{port}"
        code, result, err = download(capsys, url, "movielens_1m", "--out", out)
    assert (code, result) == (1, {}) and "cannot be reached" in err
    assert "https://files.grouplens.org/datasets/movielens/ml-1m.zip" in err
    assert f"ml-1m/ratings.dat in it is {out / 'ratings.dat'}" in err
    assert "python -m preprocessing prompts --config configs/movielens_1m.yaml" in err
    assert f"data.interactions.path={out / 'ratings.dat'}" in err


def test_list_and_dry_run_fetch_nothing(capsys, server, tmp_path):
    code, result, err = download(capsys, server, "--list")
    names = [entry["name"] for entry in result["data_sets"]]
    assert code == 0 and "amazon_books" in names and all(name in err for name in names)
    out = tmp_path / "small"
    code, result, _ = download(capsys, server, "movielens_small", "--out", out, "--dry-run")
    assert code == 0 and result["addresses"] == [f"{server.url}/ml-latest-small.zip"]
    assert not server.seen and not list(tmp_path.iterdir())


def test_the_default_folder_is_named_after_the_data_set(capsys, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    serve_movielens(server)
    assert download(capsys, server, "movielens_small")[0] == 0
    assert Path("data/movielens_small/ratings.csv").read_bytes() == RATINGS


def test_the_current_folder_can_be_the_target(capsys, server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    serve_movielens(server)
    assert download(capsys, server, "movielens_small", "--out", ".")[0] == 0
    assert (tmp_path / "ratings.csv").read_bytes() == RATINGS
    assert download(capsys, server, "movielens_small", "--out", ".")[1]["skipped"]


@pytest.mark.parametrize("exists", [True, False])
def test_files_wait_on_the_disk_that_a_link_leads_to(capsys, server, tmp_path, monkeypatch, exists):
    disk = tmp_path / "disk"
    (tmp_path / "data").mkdir()
    disk.mkdir()
    if exists:
        (disk / "small").mkdir()
    (tmp_path / "data" / "small").symlink_to(disk / "small")
    replace = os.replace

    def within_one_disk(source, target):
        if (disk in Path(source).resolve().parents) != (disk in Path(target).resolve().parents):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        replace(source, target)

    monkeypatch.setattr(os, "replace", within_one_disk)
    serve_movielens(server)
    out = tmp_path / "data" / "small"
    code, result, err = download(capsys, server, "movielens_small", "--out", out)
    assert code == 0, err
    assert (disk / "small" / "ratings.csv").read_bytes() == RATINGS
    assert [path.name for path in disk.iterdir()] == ["small"] and out.is_symlink()
    assert {path.name for path in out.iterdir()} == {*result["files"], "download.json"}


def test_nothing_is_written_beside_a_folder_that_exists(capsys, server, tmp_path, monkeypatch):
    disk = tmp_path / "disk"
    disk.mkdir()
    replace = os.replace

    def within_the_disk(source, target):
        assert disk in Path(source).parents
        replace(source, target)

    monkeypatch.setattr(os, "replace", within_the_disk)
    serve_movielens(server)
    assert download(capsys, server, "movielens_small", "--out", disk)[0] == 0
    assert not (disk / ".download").exists()


def test_help_names_every_data_set(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["download", "--help"])
    text = capsys.readouterr().out
    assert raised.value.code == 0 and "movielens_1m" in text and "goodbooks_10k" in text


def test_wrong_usage(capsys):
    assert main(["download"]) == 2 and "name a data set" in capsys.readouterr().err
    with pytest.raises(SystemExit) as raised:
        main(["download", "netflix"])
    assert raised.value.code == 2 and "movielens_1m" in capsys.readouterr().err


def test_the_default_folder(capsys):
    assert main(["download", "amazon_books", "--dry-run", "--json"]) == 0
    captured = capsys.readouterr()
    assert '"out": "data/amazon_books"' in captured.out and "would fetch https://" in captured.err


@pytest.mark.parametrize("place", ["me:secret@host/a", "secret@host/a", "host/a?key=secret"])
def test_a_mirror_with_a_secret_is_refused(capsys, place):
    assert main(["download", "movielens_1m", "--mirror", f"http://{place}", "--dry-run"]) == 2
    captured = capsys.readouterr()
    assert "--mirror: must not hold a user, a password or a query" in captured.err
    assert "secret" not in captured.err + captured.out


@pytest.mark.parametrize("mirror", ["http://", "http://[1", "http:///folder", "ftp://x"])
def test_a_mirror_without_a_host_is_refused(capsys, mirror):
    assert main(["download", "movielens_1m", "--mirror", mirror, "--dry-run"]) == 2
    captured = capsys.readouterr()
    assert "--mirror: write an address" in captured.err and "Traceback" not in captured.err
