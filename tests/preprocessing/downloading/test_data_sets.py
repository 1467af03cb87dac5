from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from configs.loading import load_scenario
from preprocessing.downloading.advice import default_folder, next_commands
from preprocessing.downloading.data_sets import DATA_SETS
from preprocessing.interactions.leak_check import checked_sources


@pytest.mark.parametrize("name", DATA_SETS)
@pytest.mark.parametrize("folder", [None, "else/where"])
def test_the_next_commands_read_files_that_are_fetched(name, folder, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    data_set = DATA_SETS[name]
    out = Path(folder) if folder else default_folder(data_set)
    prompts, examples = (shlex.split(command) for command in next_commands(data_set, out))
    assert prompts[:5] == ["python", "-m", "preprocessing", "prompts", "--config"]
    assert prompts[5:-1] == examples[5:-1] and prompts[-1] == "--dry-run"
    config, *overrides = examples[5:]
    scenario = load_scenario(config, overrides)
    assert checked_sources(scenario.knowledge) == []  # so no answers are read
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
