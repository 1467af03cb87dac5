from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from configs.loading import load_scenario
from preprocessing.downloading.data_sets import (
    DATA_SETS,
    by_hand,
    default_folder,
    missing_data_advice,
    next_commands,
)


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
