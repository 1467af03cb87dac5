from __future__ import annotations

import pytest

from preprocessing.__main__ import main


def test_help_names_every_data_set(capsys):
    with pytest.raises(SystemExit) as raised:
        main(["download", "--help"])
    text = capsys.readouterr().out
    assert raised.value.code == 0 and "movielens_1m" in text and "goodbooks_10k" in text


def test_wrong_usage(capsys):
    assert main(["download"]) == 2 and "name a data set" in capsys.readouterr().err
    assert main(["download", "movielens_1m", "--mirror", "ftp://x"]) == 2
    assert "--mirror: write an address" in capsys.readouterr().err
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


@pytest.mark.parametrize("mirror", ["http://", "http://[1", "http:///folder"])
def test_a_mirror_without_a_host_is_refused(capsys, mirror):
    assert main(["download", "movielens_1m", "--mirror", mirror, "--dry-run"]) == 2
    captured = capsys.readouterr()
    assert "--mirror: write an address" in captured.err and "Traceback" not in captured.err
