from __future__ import annotations

import hashlib
import json
import os

import pytest

from configs.loading import ConfigurationError
from preprocessing.generation.gguf import read_gguf_file

CONTENT = b"GGUF" + bytes(range(100))


def test_the_name_holds_file_name_and_hash(tmp_path):
    model = tmp_path / "toy.gguf"
    model.write_bytes(CONTENT)
    expected = f"toy.gguf@sha256:{hashlib.sha256(CONTENT).hexdigest()}"
    assert read_gguf_file(str(model), tmp_path / "none").name == expected


def test_an_unchanged_file_is_not_hashed_again_and_a_changed_one_is(tmp_path):
    model, cache = tmp_path / "toy.gguf", tmp_path / "out" / "model.json"
    model.write_bytes(CONTENT)
    read_gguf_file(str(model), cache).remember(cache)
    # A hash that no file has shows where the second answer comes from.
    record = json.loads(cache.read_text())
    cache.write_text(json.dumps({**record, "sha256": "from the cache"}))
    assert read_gguf_file(str(model), cache).sha256 == "from the cache"

    changed = CONTENT[:-1] + b"!"
    model.write_bytes(changed)
    os.utime(model, ns=(1, 1))
    assert read_gguf_file(str(model), cache).sha256 == hashlib.sha256(changed).hexdigest()


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"path": 1}'])
def test_a_damaged_cache_is_no_cache(tmp_path, damage):
    model, cache = tmp_path / "toy.gguf", tmp_path / "model.json"
    model.write_bytes(CONTENT)
    cache.write_text(damage)
    expected = hashlib.sha256(CONTENT).hexdigest()
    assert read_gguf_file(str(model), cache).sha256 == expected


def test_what_is_no_model_file_is_named(tmp_path):
    other = tmp_path / "model.bin"
    other.write_bytes(b"PK\3\4")
    with pytest.raises(ConfigurationError, match=r"model.bin' is no GGUF file"):
        read_gguf_file(str(other), tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"generation.model: .*cannot be read"):
        read_gguf_file(str(tmp_path / "missing.gguf"), tmp_path / "none")
