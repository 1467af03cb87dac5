from __future__ import annotations

import pytest

from configs.loading import load_scenario
from preprocessing.downloading.data_sets import DATA_SETS


@pytest.mark.parametrize("name", DATA_SETS)
def test_the_configuration_reads_files_that_are_fetched(name, repository_root, monkeypatch):
    monkeypatch.chdir(repository_root)
    data_set = DATA_SETS[name]
    option, config, *overrides = data_set.arguments.split()
    assert option == "--config"
    data = load_scenario(config, overrides).data
    tables = [data.interactions, data.catalogue, *([data.profiles] if data.profiles else [])]
    read = {path for table in tables for path in table.paths}
    assert read <= {f"data/{name}/{file}" for file in data_set.files}


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
